"""Ten steps of the "tiny" preset of every family, as numbers to compare with: losses of each step, digests of the weights.

    make goldens                                writes tests/goldens/CASE.json of every case
    python tests/make_goldens.py CASE ...       of those named

Run it when a change is meant to change what is computed, and say so in the commit. Pictures and labels come from integer
arithmetic alone, so they outlive every random generator.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from families import FAMILIES, LABEL, batch, tiny, told

FOLDER = Path(__file__).parent / "goldens"
STEPS = 10
# Every family, and what the base does only when a family's settings ask for it: case -> (family, options of `tiny`).
CASES = {name: (name, {}) for name in FAMILIES} | {
    "mlp_gan_diffaugment": ("mlp_gan", {"augment": "diffaugment"}),
    "mlp_gan_ada": ("mlp_gan", {"augment": "ada"}),
    "r3gan_lazy": ("r3gan", {"penalty_every": 2}),
    "dcgan_equal_phases": ("dcgan", {"equal_phases": True}),
    "pix2pix_smooth": ("pix2pix", {"smooth_upsampling": True, "objective": "relativistic", "gamma": 1.0}),
    "dcgan_wgan_gp": ("dcgan", {"objective": "wgan_gp", "critic_steps": 2, "penalty_every": 2}),
}


def integers(*shape, stream):
    """Pseudo-random uint32 [*shape], the same wherever NumPy is: the finaliser of MurmurHash3 over 0, 1, 2, ..."""
    x = np.arange(np.prod(shape), dtype=np.uint32) + np.uint32(stream * 0x9E3779B9 % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return x.reshape(shape)


def integer_batch(model, number):
    """The batch of `families.batch` with other values: pictures of 4x4 even patches, multiples of 1/128, and labels."""

    def values(stream, like):
        if like.dtype.is_integer:
            return integers(*like.shape, stream=stream) % LABEL.count
        rows, height, width, channels = like.shape
        patches = integers(rows, 4, 4, channels, stream=stream) >> np.uint32(24)
        down, right = np.arange(height) * 4 // height, np.arange(width) * 4 // width
        return patches[:, down][:, :, right] / 128.0 - 1.0

    like = batch(model)
    return {
        key: tf.constant(values(100 * number + place, like[key]), like[key].dtype)
        for place, key in enumerate(sorted(like))
    }


def digest(network):
    """Mean, deviation and one projection of all weights of a network, floats. The projection changes with their order."""
    weights = np.concatenate([np.float64(weight).ravel() for weight in network.get_weights()])
    signs = 1.0 - 2.0 * (integers(weights.size, stream=7) >> np.uint32(31))
    return {
        "mean": weights.mean(),
        "deviation": weights.std(),
        "projection": weights @ signs / weights.size**0.5,
    }


def ten_steps(case, prepare=lambda model: None):
    """{"losses": {name: [a value a step]}, "start", "end": {network: digest}} of a case; `prepare` may change its model."""
    name, options = CASES[case]
    model = tiny(name, facts=told(name), **options)
    if options.get("augment") == "ada":
        model.ada_strength.assign(0.5)
    prepare(model)
    networks = model.parts()
    start = {key: digest(network) for key, network in networks.items()}
    step = tf.function(model.train_step)
    losses = [{key: float(value) for key, value in step(integer_batch(model, i)).items()} for i in range(STEPS)]
    return {
        "losses": {key: [loss[key] for loss in losses] for key in losses[0]},
        "start": start,
        "end": {key: digest(network) for key, network in networks.items()},
    }


def path(case):
    return FOLDER / f"{case}.json"


def main(cases):
    for case in cases or CASES:
        path(case).write_text(json.dumps(ten_steps(case), indent=1) + "\n")
        print(path(case))


if __name__ == "__main__":
    main(sys.argv[1:])
