"""Two logical CPU devices, so that MirroredStrategy has two real replicas in a unit test."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folder of the models of `small_models`, each as <name>/1. Not to be changed."""
    import small_models

    folder = tmp_path_factory.mktemp("models")
    small_models.save_all(folder)
    return folder
