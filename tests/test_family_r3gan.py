"""What is particular to R3GAN."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import LABEL, batch, tiny, told

from data.facts import Facts
from data.images import to_uint8
from models import catalogue
from models.generation import r3gan
from models.layers.conv import GroupedConv2D, StridedConv2DTranspose
from serving.export.export import export
from trainer.metrics.artifacts import periodic_artifacts

CPU_PRESETS = [name for name in r3gan.PRESETS if name.startswith("cpu")]


def test_blocks_start_as_the_identity():
    """Fix-up: the last convolution of a block is zero, so a new block changes nothing."""
    config = r3gan.PRESETS["tiny"]
    inputs = keras.Input((8, 8, 16))
    network = keras.Model(inputs, r3gan.block(inputs, config, 3))
    x = tf.random.stateless_normal([2, 8, 8, 16], [0, 1])
    np.testing.assert_array_equal(network(x), x)


def test_the_inner_convolutions_are_scaled_by_depth():
    """Deviation sqrt(2 / (1 + 0.2^2)) / sqrt(inputs) times L^(-1/4) for L blocks of three convolutions: paper, section 3.3."""
    config = catalogue.configure(r3gan, "tiny", {"expansion": 4, "group_width": 32})
    inputs = keras.Input((8, 8, 64))
    network = keras.Model(inputs, r3gan.block(inputs, config, 16))
    first, grouped, _ = (v.numpy() for v in network.trainable_weights if v.name == "kernel")
    gain = np.sqrt(2 / 1.04) * 16**-0.25
    assert first.std() == pytest.approx(gain / np.sqrt(64), rel=0.03)
    assert grouped.std() == pytest.approx(gain / np.sqrt(9 * 32), rel=0.03)


def test_terms_by_hand_on_a_linear_critic():
    """With D(x) = sum(w x) the slope is w for any picture, so r1 = r2 = gamma/2 |w|^2 times penalty_every, and the pairing
    loss is softplus(D(fake) - D(real))."""
    model = tiny("r3gan")
    weight = np.random.default_rng(0).normal(0, 0.01, (16, 16, 3)).astype("float32")
    model.critic_logits = lambda pictures, rows: tf.reduce_sum(pictures * weight, [1, 2, 3])
    rows = batch(model)
    model._begin(rows)
    fakes = -rows["image"]
    terms = model.critic_terms(rows, fakes, True)
    logits = np.sum(rows["image"].numpy() * weight, (1, 2, 3))
    np.testing.assert_allclose(terms["adversarial"], np.log1p(np.exp(-2 * logits)), rtol=1e-4)
    np.testing.assert_allclose(terms["r1"], [0.5 * np.sum(weight**2)] * 8, rtol=1e-5)
    np.testing.assert_allclose(terms["r2"], terms["r1"], rtol=1e-6)
    np.testing.assert_allclose(
        model.generator_terms(rows, fakes, True)["adversarial"], np.log1p(np.exp(2 * logits)), rtol=1e-4
    )


def test_the_category_changes_pictures_and_logits():
    model = tiny("r3gan", facts=told("r3gan"))
    for network in (model.network, model.critic):
        for variable in network.trainable_weights:  # away from the zeros of a new network
            variable.assign(variable + 0.1 * tf.random.stateless_normal(variable.shape, [1, 2]))
    latent = tf.random.stateless_normal([1, 8], [0, 1])
    pictures = [model.network([latent, tf.constant([label])]).numpy() for label in range(LABEL.count)]
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-3
    logits = [float(model.critic([tf.constant(pictures[0]), tf.constant([label])])[0]) for label in range(LABEL.count)]
    assert len({round(logit, 6) for logit in logits}) == LABEL.count


@pytest.mark.parametrize("preset", CPU_PRESETS)
def test_presets_for_two_cores_are_narrow(preset):
    """Under 0.06 GMAC a generator pass: multiply-adds counted from the layers' shapes."""
    network = r3gan.build_generator(r3gan.PRESETS[preset], Facts(), "g")
    total = 0
    for layer in network.layers:
        for kernel in layer.weights:
            if kernel.name == "kernel" and len(kernel.shape) == 4:
                total += int(np.prod(kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
    assert 1e6 < total < 6e7


def test_skips_add_a_picture_of_every_stage():
    """With the last convolutions of all stages but one at zero, the picture is that stage's; these sum up to the whole."""
    config = catalogue.configure(r3gan, "tiny", {"skips": True, "last_side": 3})
    network = r3gan.build_generator(config, Facts(), "g")
    kernels = [v for v in network.trainable_weights if v.name == "kernel" and v.shape[-1] == 3]
    values = [v.numpy() for v in kernels]
    assert sorted(value.shape for value in values) == [(1, 1, 16, 3), (1, 1, 16, 3), (3, 3, 16, 3)]
    latent = tf.random.stateless_normal([4, 8], [0, 1])
    whole, parts = network([latent]), []
    for number in range(3):
        for other, (kernel, value) in enumerate(zip(kernels, values, strict=True)):
            kernel.assign(value * (number == other))
        parts.append(network([latent]))
        assert np.std(parts[-1]) > 0.01
    np.testing.assert_allclose(tf.add_n(parts), whole, atol=1e-5)


@pytest.mark.parametrize("preset", CPU_PRESETS)
def test_pictures_of_the_narrow_presets_have_no_grid(preset):
    """Whatever the weights are: here random ones, among them those that start at zero."""
    config = r3gan.PRESETS[preset]
    network = r3gan.build_generator(config, Facts(), "g")
    random = np.random.default_rng(0)
    network.set_weights([w + random.normal(0, 0.05, w.shape) for w in network.get_weights()])
    pictures = network([random.normal(size=(64, config.latent_size)).astype(np.float32)])
    for period in (2, 4):
        assert periodic_artifacts(to_uint8(pictures / (4 * tf.math.reduce_std(pictures))).numpy(), period).value < 1.2


@pytest.mark.parametrize("patch, stages", [(1, 3), (2, 2), (4, 1)])
def test_a_patch_takes_the_place_of_the_critics_widest_stages(patch, stages):
    network = r3gan.build_critic(catalogue.configure(r3gan, "tiny", {"patch": patch, "skips": True}), Facts(), "c")
    sides = [layer.output.shape[1] for layer in network.layers if isinstance(layer, GroupedConv2D)]
    assert sides == [16, 8, 4][-stages:]


def test_a_generator_without_skips_ends_in_the_transpose_of_its_critics_first_convolution():
    """Runs of before there were skips have such settings, and go on."""
    config = catalogue.configure(r3gan, "tiny", {"patch": 4, "channels": (16,), "blocks": (1,)})
    network = r3gan.build_generator(config, Facts(), "g")
    assert network([tf.zeros([2, 8])]).shape == (2, 16, 16, 3)
    assert [layer.patch for layer in network.layers if isinstance(layer, StridedConv2DTranspose)] == [4]


def test_stages_must_make_the_resolution():
    for changes, sentence in (
        ({"resolution": 32}, "not resolution=32"),
        ({"blocks": (1, 1)}, "as many stages"),
        ({"patch": 3}, "1, 2, 4, 8 or 16, not 3"),
        ({"patch": 2}, "3 stages from 4x4 px with patch=2 and skips=False make 32 px"),
        ({"patch": 8, "skips": True}, "patch=8 leaves no 4x4 px of resolution=16"),
    ):
        with pytest.raises(ValueError, match=sentence):
            r3gan.Model(catalogue.configure(r3gan, "tiny", changes))


def test_an_export_answers_where_tensorflow_has_no_onednn(tmp_path):
    """Without oneDNN, TensorFlow joins a convolution and its bias into a kernel that knows no groups."""
    path = export(tiny("r3gan"), str(tmp_path), "r3gan", metadata={})
    request = "{'seed': np.arange(2), 'truncation': np.ones(2, np.float32)}"
    code = "import numpy as np; from serving.export.session import Session; "
    code += f"print(Session({path!r}).run('generate', {request})['images'].shape)"
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "(2, 16, 16, 3)", done.stderr
