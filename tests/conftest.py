"""Two logical CPU devices, so that MirroredStrategy has two real replicas in a unit test."""

from data import quiet

quiet.start()

import keras  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
quiet.stop()  # pytest keeps what is written from here on

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folder of the models of `small_models`, each as <name>/1. Not to be changed."""
    import small_models

    folder = tmp_path_factory.mktemp("models")
    small_models.save_all(folder)
    return folder


@pytest.fixture(scope="session")
def strategy():
    """Two replicas. One for all tests of a process: a second one would reuse the first one's collective keys for other shapes."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(autouse=True)
def precision():
    """Every test begins in float32: a command run in this process leaves its own precision behind."""
    keras.config.set_dtype_policy("float32")
