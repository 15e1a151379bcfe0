"""One training step, written once.

`ImageModel` holds what every family has: its configuration, the step counter, the random numbers of a step, the averaged
network. `OnePlayer` minimises one sum of terms; `TwoPlayer` plays a generator against a critic. Tapes, reduction over the batch
and over replicas, loss scaling, averaging, several critic steps, lazy penalties and the augmentation of what the critic sees live
here and nowhere else; a family says only what is minimised, as named per-example terms.
"""

import keras
import tensorflow as tf

from data import batch as contract
from data.errors import UserError
from models import augment as augmentations
from models.catalogue import AUGMENTS
from models.loss_scale import LossScale
from models.random import StepRandom

ADA_TARGET = 0.6  # Karras et al. 2020 (ADA), section 3.1: where the sign of the critic's answers should stay
ADA_TARGET_PAIRS = (
    0.766  # the same critic's sign of real - fake, were its answers normal: erf(sqrt(2) * erfinv(ADA_TARGET))
)
ADA_EVERY = 4  # steps between two changes of p


class ImageModel(keras.Model):
    """What every family is.

    Args:
        config: the family's frozen dataclass.
        classes: number of categories the model is told about; 0 for none.
        seed: int, from which all random numbers of training follow, together with the step.

    A family takes `task`, `sample(batch)` and `signatures()` from its task's class in `models.tasks`, and sets in `__init__` its
    optimisers and `self.network, self.average = self.twins(...)`: what is trained, and its moving average, which is served.
    """

    rows_per_step = 1  # batches of `batch_size` rows that one step consumes
    default_steps_per_execution = (
        1  # steps that TensorFlow takes in one call: more where a step lasts a few milliseconds only
    )

    def __init__(self, config, *, classes=0, seed=0):
        super().__init__(name="model")
        self.config = config
        self.classes = classes
        self.seed = seed
        self.step = self._counter("step", "int64")
        self.loss_scale = LossScale() if keras.config.dtype_policy().compute_dtype == "float16" else None
        self.built = True

    def with_ema(self, build):
        """(trained, served): two networks of one `build(name)`, alike at the start; or one and the same if nothing is averaged."""
        network = build("network")
        if not self.config.ema_images:
            return network, network
        average = build("ema")
        average.set_weights(network.get_weights())
        return network, average

    def serving_variables(self):
        """The `tf.Variable`s that the exported model is made of, each once."""
        return [variable.value for variable in self.ema.weights]

    def optimizers(self):
        """The family's optimisers, in a fixed order."""
        raise TypeError(f"{type(self).__name__} has no optimisers")

    def state(self):
        """Everything a resumed run needs: dict of name -> tf.Variable, the same names in every process."""
        owners = [self, *self.optimizers(), *([self.loss_scale] if self.loss_scale else [])]
        return {
            f"{owner.name}_{number:04d}": variable.value  # variables' own names count up with every network built
            for owner in owners
            for number, variable in enumerate(owner.variables)
        }

    def compile(self, *, steps_per_execution=1, run_eagerly=False, jit_compile="auto"):
        """Make `fit` usable. Optimisers and losses are the family's own, so there is nothing else to give."""
        super().compile(
            optimizer=None, steps_per_execution=steps_per_execution, run_eagerly=run_eagerly, jit_compile=jit_compile
        )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing is left to build when `fit` begins; Keras' own attempt fails on the batches of several workers."""

    def _counter(self, name, dtype="float32"):
        return self.add_weight(
            shape=(), dtype=dtype, initializer="zeros", trainable=False, aggregation="only_first_replica", name=name
        )

    def _begin(self, batch):
        contract.check(batch, self.task)
        context = tf.distribute.get_replica_context()
        self._replicas = context.num_replicas_in_sync
        replica = 0 if self._replicas == 1 else context.replica_id_in_sync_group
        self.random = StepRandom(self.seed, self.step.value, self._replicas, replica)
        rows = next(iter(batch.values())).shape[0]
        if rows % self.rows_per_step:
            raise UserError(f"a batch of {rows} rows cannot be shared evenly by critic_steps={self.rows_per_step}")
        self._global_rows = float(rows * self._replicas)

    def _total(self, terms):
        """The mean over this replica's rows of the sum of the terms, float32 scalar."""
        return tf.add_n([tf.reduce_mean(tf.cast(term, tf.float32)) for term in terms.values()])

    def _gradients(self, tape, terms, variables):
        # Optimisers add gradients up over replicas, so each replica gives its share of the mean over the global batch.
        with tape:
            loss = self._total(terms) / self._replicas
            if self.loss_scale:
                loss *= self.loss_scale.scale.value
        return tape.gradient(loss, variables)

    def _move(self, optimizer, gradients, variables):
        if self.loss_scale:
            self.loss_scale.apply(optimizer, gradients, variables)
        else:
            optimizer.apply(gradients, variables)

    def _finish(self, logs):
        if self.ema is not self.network:
            self._follow()
        self.step.assign_add(1)
        # Keras reduces the logs of several workers along an axis, which a scalar does not have.
        strategy = tf.distribute.get_strategy()
        shape = [1] if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else []
        return {name: tf.reshape(tf.reduce_mean(tf.cast(value, tf.float32)), shape) for name, value in logs.items()}

    def _follow(self):
        """Move the average towards the trained network: w' <- w + (w' - w) 0.5^(rows / half-life), both in pictures.

        The half-life grows with the pictures seen (a twentieth of them) until it reaches `config.ema_images`, so that the average
        does not drag its random start along: Karras et al. 2020 (ADA), appendix C. Statistics that are not trained are copied.
        """
        seen = tf.cast(self.step.value + 1, tf.float32) * self._global_rows
        keep = tf.pow(0.5, self._global_rows / tf.minimum(float(self.config.ema_images), 0.05 * seen))
        trained = {id(variable) for variable in self.network.trainable_weights}
        pairs = [
            (ours.value, theirs.value, id(theirs) in trained)
            for ours, theirs in zip(self.ema.weights, self.network.weights, strict=True)
        ]

        def update(strategy, keep):
            for target, source, is_trained in pairs:
                rule = _blend if is_trained else _copy
                strategy.extended.update(target, rule, args=(source, keep))

        tf.distribute.get_replica_context().merge_call(update, args=(keep,))


def _blend(target, source, keep):
    target.assign(source + (target - source) * tf.cast(keep, source.dtype))


def _copy(target, source, keep):
    target.assign(source)


class OnePlayer(ImageModel):
    """Minimises one sum of terms. A family also sets `network_optimizer` and gives the hook `terms`."""

    def terms(self, batch):
        """{name: float32 [batch]}, as they enter the sum."""
        raise TypeError(f"{type(self).__name__} does not say what it minimises")

    def optimizers(self):
        return [self.network_optimizer]

    def train_step(self, batch):
        self._begin(batch)
        variables = self.network.trainable_weights
        with tf.GradientTape() as tape:
            terms = self.terms(batch)
        self._move(self.network_optimizer, self._gradients(tape, terms, variables), variables)
        return self._finish({**terms, "loss": self._total(terms)})


class TwoPlayer(ImageModel):
    """A generator (`self.network`) against a critic (`self.critic`).

    A family also sets `generator_optimizer` and `critic_optimizer`, and gives the hooks `play`, `critic_terms` and `generator_terms`.
    Its config has `critic_steps` (critic steps for one generator step, each on rows of its own), `penalty_every`
    (steps between two penalised critic steps) and `ada_images` (pictures in which the ADA strength could go from 0 to 1).

    Args:
        augment: what the critic sees: "none", "diffaugment" or "ada".
    """

    def __init__(self, config, *, classes=0, seed=0, augment="none"):
        super().__init__(config, classes=classes, seed=seed)
        if augment not in AUGMENTS:
            raise UserError(f"unknown augment {augment!r}; have: {', '.join(AUGMENTS)}")
        self.augment = augment
        self.rows_per_step = config.critic_steps
        self.ada_strength = self._counter("ada_strength")
        self.ada_confidence = self._counter("ada_confidence")

    def fakes(self, batch):
        """The generator's move in training mode: pictures, or a nest of tensors of which the hooks below know the meaning."""
        raise TypeError(f"{type(self).__name__} does not say how its generator plays")

    def critic_terms(self, batch, fakes, penalise):
        """{name: float32 [batch]} for the critic, as they enter the sum; `penalise` (a Python bool) says whether penalties are due.

        Calls `self.note(real_logits, fake_logits)`.
        """
        raise TypeError(f"{type(self).__name__} does not say what its critic minimises")

    def generator_terms(self, batch, fakes):
        """{name: float32 [batch]} for the generator, as they enter the sum."""
        raise TypeError(f"{type(self).__name__} does not say what its generator minimises")

    def optimizers(self):
        return [self.generator_optimizer, self.critic_optimizer]

    def augmented(self, pictures):
        """What the critic sees of pictures float32 [batch, height, width, 3k] in [-1, 1]: the same, or augmented."""
        if self.augment == "diffaugment":
            return augmentations.diffaugment(pictures, self.random)
        if self.augment == "ada":
            return augmentations.ada(pictures, self.random, self.ada_strength.value)
        return pictures

    def record_confidence(self, real_logits, fake_logits, *, relativistic=False):
        """Tell the base how sure the critic is; ADA steers by it and the log shows it.

        The sign of the real logits, or where logits have no zero of their own (`relativistic`) the sign of real - fake, which the
        same critic gets right more often: ADA's target is higher for it.
        """
        margin = real_logits - fake_logits if relativistic else real_logits
        self._confidence = tf.reduce_mean(tf.sign(tf.cast(margin, tf.float32)))
        self._confidence_target = ADA_TARGET_PAIRS if relativistic else ADA_TARGET

    def train_step(self, batch):
        self._begin(batch)
        *earlier, last = self._split(batch)
        for rows in earlier:
            self._critic_move(rows, self.fakes(rows))
        variables = self.network.trainable_weights
        with tf.GradientTape() as tape:
            fakes = self.fakes(last)
        critic_logs = self._critic_move(last, fakes)
        with tape:
            terms = self.generator_terms(last, fakes)
        self._move(self.generator_optimizer, self._gradients(tape, terms, variables), variables)
        logs = {f"generator_{name}": value for name, value in terms.items()}
        logs |= {"generator_loss": self._total(terms)} | critic_logs
        if self.augment == "ada":
            logs |= {"ada_strength": self._adapt(critic_logs["critic_confidence"])}
        return self._finish(logs)

    def _split(self, batch):
        parts = self.config.critic_steps
        if parts == 1:
            return [batch]
        return [{key: tf.split(value, parts)[part] for key, value in batch.items()} for part in range(parts)]

    def _critic_move(self, batch, fakes):
        """One critic step; returns its logs."""
        fakes = tf.nest.map_structure(tf.stop_gradient, fakes)
        variables = self.critic.trainable_weights
        penalty_names = []

        def gradients(penalise):
            with tf.GradientTape() as tape:
                terms = self.critic_terms(batch, fakes, penalise)
            found = self._gradients(tape, terms, variables)
            logs = {name: tf.reduce_mean(tf.cast(term, tf.float32)) for name, term in terms.items()}
            logs |= {"loss": self._total(terms), "confidence": self._confidence}
            if penalise:
                penalty_names.extend(logs)
            return found, {name: logs.get(name, tf.zeros([])) for name in penalty_names or logs}

        if self.config.penalty_every == 1:
            found, logs = gradients(True)
        else:
            due = self.step.value % self.config.penalty_every == 0
            found, logs = tf.cond(due, lambda: gradients(True), lambda: gradients(False))
        self._move(self.critic_optimizer, found, variables)
        return {f"critic_{name}": value for name, value in logs.items()}

    def _adapt(self, confidence):
        """Change the ADA strength towards the target confidence; returns it, float32 scalar."""
        context = tf.distribute.get_replica_context()
        confidence = context.all_reduce(tf.distribute.ReduceOp.MEAN, confidence)
        total = self.ada_confidence.value + confidence
        due = (self.step.value + 1) % ADA_EVERY == 0
        change = tf.sign(total / ADA_EVERY - self._confidence_target) * (
            ADA_EVERY * self._global_rows / self.config.ada_images
        )
        strength = tf.clip_by_value(self.ada_strength.value + tf.where(due, change, 0.0), 0.0, 1.0)
        self.ada_confidence.assign(tf.where(due, 0.0, total))
        self.ada_strength.assign(strength)
        return strength
