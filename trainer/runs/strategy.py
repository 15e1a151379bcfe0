"""Distribution strategies and precisions by name."""

import keras
import tensorflow as tf

from data.errors import UserError
from trainer.runs.cluster import wait_for_others, workers
from trainer.runs.config import STRATEGIES


def make_strategy(name: str, say=lambda sentence: None) -> tf.distribute.Strategy:
    """Returns the strategy of that name.

    auto: `multiworker` when TF_CONFIG names more than one worker, `tpu` when a TPU answers, `mirrored` on several GPUs, else `one`.
    mirrored: all GPUs, or all logical CPUs when there is no GPU.

    Raises:
        UserError: an unknown name, `tpu` without a TPU, `multiworker` without a cluster in TF_CONFIG, a malformed TF_CONFIG.
        Stopped: the other workers did not start; `say` gets their names while it waits.
    """
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy {name!r}; have: {', '.join(STRATEGIES)}")
    if name == "auto":
        if workers() > 1:
            name = "multiworker"
        elif tf.config.list_physical_devices("TPU"):
            name = "tpu"
        else:
            name = "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one"
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    if name == "multiworker":
        if not workers():
            raise UserError("--strategy multiworker needs a cluster in the TF_CONFIG variable, and there is none")
        wait_for_others(say)
        return tf.distribute.MultiWorkerMirroredStrategy()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, tf.errors.NotFoundError) as error:
        raise UserError(f"--strategy tpu found no TPU: {error}") from error
    return tf.distribute.TPUStrategy(resolver)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the run folder: false only for workers after the first."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (not has_chief and resolver.task_id == 0)


def set_precision(name: str) -> None:
    """Sets `name` (one of `trainer.runs.config.PRECISIONS`) as the precision of new layers; weights and losses stay float32."""
    keras.config.set_dtype_policy(name)
