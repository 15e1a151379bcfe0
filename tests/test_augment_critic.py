"""What the critic sees: DiffAugment and ADA against NumPy, and derivatives of any order."""

import numpy as np
import pytest
import tensorflow as tf

from data.random import StepRandom
from models import augment

PICTURES = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype("float32")


def random(step=0, **kwargs):
    return StepRandom(3, tf.constant(step, tf.int64), **kwargs)


class Fixed:
    """Hands out prepared numbers in the order they are asked for."""

    def __init__(self, *values):
        self._values = list(values)

    def uniform(self, rows, *shape, low=0.0, high=1.0):
        return tf.constant(self._values.pop(0), tf.float32)


def test_diffaugment_against_numpy():
    """Written a second time in NumPy from the paper's reference: brightness, saturation, contrast, shift, cutout."""
    light, vivid, stretch = [0.25, -0.5, 0.0, 0.125], [2.0, 0.0, 1.0, 0.5], [0.5, 1.5, 1.0, 1.0]
    down, right, top, left = [1.0, -1.0, 0.0, 0.4], [0.0, 1.0, -1.0, 0.0], [0.0, 0.5, 0.9, 0.2], [0.9, 0.5, 0.0, 0.3]
    got = augment.diffaugment(tf.constant(PICTURES), Fixed(light, vivid, stretch, down, right, top, left)).numpy()
    for i, picture in enumerate(PICTURES.astype("float64")):
        x = picture + light[i]
        grey = x.mean(axis=2, keepdims=True)
        x = (x - grey) * vivid[i] + grey
        x = (x - x.mean()) * stretch[i] + x.mean()
        dy, dx = round(down[i]), round(right[i])
        moved = np.zeros_like(x)
        for y in range(8):
            for z in range(8):
                if 0 <= y - dy < 8 and 0 <= z - dx < 8:
                    moved[y, z] = x[y - dy, z - dx]
        y0, x0 = int(top[i] * 9) - 2, int(left[i] * 9) - 2  # a hole of 4 whose centre is one of 9 places
        moved[max(y0, 0) : max(y0 + 4, 0), max(x0, 0) : max(x0 + 4, 0)] = 0
        np.testing.assert_allclose(got[i], moved, atol=1e-5)


def test_ada_at_zero_changes_nothing():
    np.testing.assert_allclose(augment.ada(tf.constant(PICTURES), random(), tf.constant(0.0)), PICTURES, atol=1e-5)


def test_ada_at_one_changes_every_row_and_is_seeded():
    once, again, later = (
        augment.ada(tf.constant(PICTURES), random(step), tf.constant(1.0)).numpy() for step in (0, 0, 1)
    )
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - PICTURES).mean(axis=(1, 2, 3)).min() > 0.05
    assert np.abs(once - later).mean() > 0.05


def test_quarter_turns_are_exact():
    """Scaling by -1 mirrors exactly, which with a transposition makes every quarter turn."""
    ones = tf.ones([4])
    np.testing.assert_allclose(augment.warp(PICTURES, wide=-ones), PICTURES[:, :, ::-1], atol=1e-6)
    np.testing.assert_allclose(augment.warp(PICTURES, tall=-ones), PICTURES[:, ::-1], atol=1e-6)


def test_shift_reflects_or_fills_with_grey():
    line = tf.reshape(tf.range(1.0, 5.0), [1, 1, 4, 1])
    two = tf.constant([2.0])
    np.testing.assert_allclose(tf.squeeze(augment.warp(line, right=two)), [0, 0, 1, 2])
    np.testing.assert_allclose(tf.squeeze(augment.warp(line, right=two, reflect=True)), [3, 2, 1, 2])
    half = tf.constant([0.5])
    np.testing.assert_allclose(tf.squeeze(augment.warp(line, right=half, reflect=True)), [1.5, 1.5, 2.5, 3.5])


def colour(**changes):
    neutral = {"light": 0.0, "stretch": 1.0, "invert": 1.0, "turn": 0.0, "vivid": 1.0}
    matrix, offset = augment.colour_matrix(**{k: tf.constant([v]) for k, v in (neutral | changes).items()})
    return matrix.numpy()[0], offset.numpy()[0]


def test_colour_maps_have_their_meaning():
    red, grey = np.array([1.0, 0.0, 0.0]), np.array([0.3, 0.3, 0.3])
    matrix, offset = colour(turn=2 * np.pi / 3)  # a third of the circle takes red to green
    np.testing.assert_allclose(matrix @ red + offset, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(matrix @ grey + offset, grey, atol=1e-6)
    matrix, offset = colour(vivid=0.0)
    np.testing.assert_allclose(matrix @ red + offset, [1 / 3] * 3, atol=1e-6)
    matrix, offset = colour(invert=-1.0)
    np.testing.assert_allclose(matrix @ grey + offset, -grey, atol=1e-6)
    matrix, offset = colour(light=0.25, stretch=2.0)
    np.testing.assert_allclose(matrix @ grey + offset, 2 * (grey + 0.25), atol=1e-6)


@pytest.mark.parametrize("name", ["diffaugment", "ada"])
def test_slope_penalties_go_through(name):
    """Each operation is linear, so the gradient of a sum of squares is finite, not zero, and has a derivative itself."""
    weight = tf.Variable(1.0)
    pictures = tf.constant(PICTURES)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(pictures)
            strength = [tf.constant(1.0)] if name == "ada" else []
            value = weight * tf.reduce_sum(tf.square(getattr(augment, name)(pictures, random(), *strength)))
        slope = tf.reduce_sum(tf.square(inner.gradient(value, pictures)))
    again = outer.gradient(slope, weight).numpy()
    assert np.isfinite(again) and again > 0


def test_six_channels_are_moved_together():
    """Source and picture of a translation pair are joined: geometry must be the same for both."""
    both = np.concatenate([PICTURES, PICTURES], axis=3)
    for name, strength in (("diffaugment", []), ("ada", [tf.constant(1.0)])):
        seen = getattr(augment, name)(tf.constant(both), random(), *strength).numpy()
        np.testing.assert_allclose(seen[..., :3], seen[..., 3:], atol=1e-5)


def test_replicas_draw_the_rows_of_one():
    whole = random().normal(6, 2).numpy()
    halves = [random(replicas=2, replica=replica).normal(3, 2).numpy() for replica in (0, 1)]
    np.testing.assert_allclose(np.concatenate(halves), whole, atol=1e-6)


def test_draws_differ_by_call_and_step_and_repeat_by_both():
    first = random()
    a, b = first.uniform(5).numpy(), first.uniform(5).numpy()
    assert np.abs(a - b).max() > 0.01
    np.testing.assert_array_equal(random().uniform(5), a)
    assert np.abs(random(1).uniform(5).numpy() - a).max() > 0.01
    assert a.min() >= 0 and a.max() < 1


def test_numbers_have_their_distribution():
    drawn = random().normal(200, 100).numpy()
    assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 1) < 0.02 and abs((drawn**3).mean()) < 0.05
    assert abs((drawn**4).mean() - 3) < 0.15
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.25
    flat = random().uniform(20000).numpy()
    np.testing.assert_allclose(np.histogram(flat, 10, (0, 1))[0] / 20000, 0.1, atol=0.01)


def test_compiled_draws_are_the_same():
    def draw(step):
        return StepRandom(3, step).uniform(50), StepRandom(3, step).normal(50)

    plain, compiled = tf.function(draw)(tf.constant(4)), tf.function(draw, jit_compile=True)(tf.constant(4))
    np.testing.assert_array_equal(plain[0], compiled[0])
    np.testing.assert_allclose(plain[1], compiled[1], atol=1e-5)
