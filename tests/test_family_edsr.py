"""What is particular to EDSR."""

import numpy as np
import pytest
import tensorflow as tf
from families import batch, tiny

from data.errors import UserError
from models import catalogue
from models.enhancement import edsr


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("x2-baseline", 1_369_859),
        ("x3-baseline", 1_554_499),
        ("x4-baseline", 1_517_571),
        ("x2-large", 40_729_603),
        ("x3-large", 43_680_003),
        ("x4-large", 43_089_923),
    ],
)
def test_parameters_of_the_paper(preset, count):
    """Table 1 gives 1.5 M and 43 M; to the unit they are those of the authors' networks without the fixed shifts of the mean."""
    assert edsr.build(edsr.PRESETS[preset], "n").count_params() == count


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("direct", [True, False])
def test_a_new_network_repeats_pixels(scale, direct):
    """The last layer starts at zero and the input is added."""
    config = catalogue.configure(edsr, f"x{scale}", {"blocks": 2, "direct": direct})
    low = tf.random.stateless_uniform([2, 5, 7, 3], [0, 1])
    repeated = low.numpy().repeat(scale, axis=1).repeat(scale, axis=2)
    np.testing.assert_allclose(edsr.build(config, "n")(low), repeated, atol=1e-6)


def test_blocks_scaled_by_nothing_leave_one_convolution_between_head_and_enlargement():
    """head + conv(head), whatever the weights of the blocks."""
    network = edsr.build(catalogue.configure(edsr, "tiny", {"block_scale": 0.0}), "n")
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 0.2, weight.shape) for weight in network.weights])
    low = tf.random.stateless_uniform([1, 6, 5, 3], [0, 1])
    first, *_, middle, last = (layer for layer in network.layers if layer.weights)
    head = first(low)
    shuffled = tf.nn.depth_to_space(last(head + middle(head)), 2)
    np.testing.assert_allclose(
        network(low), shuffled + low.numpy().repeat(2, axis=1).repeat(2, axis=2), rtol=1e-4, atol=1e-4
    )


def test_it_learns_to_do_better_than_repeating():
    model = tiny("edsr")
    rows = batch(model)
    step = tf.function(model.train_step)
    losses = [float(step(rows)["absolute"]) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_settings_must_fit():
    with pytest.raises(UserError, match="scale must be 2, 3 or 4"):
        catalogue.configure(edsr, "tiny", {"scale": 5})
