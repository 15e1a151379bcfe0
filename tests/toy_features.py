"""A features extractor that costs nothing, in place of a network: the mean colours of 3x3 parts of a picture."""

import sys

import numpy as np

NAME = "toy-1"


class Toy:
    name, size, batch, classes, to_maps = NAME, 64, 64, None, None

    def vectors(self, pictures):
        side = pictures.shape[1] // 3 * 3
        parts = pictures[:, :side, :side].reshape(len(pictures), 3, side // 3, 3, side // 3, 3)
        return parts.mean(axis=(2, 4)).reshape(len(pictures), 27).astype(np.float32) / 255


class ToyWithLayers(Toy):
    def to_maps(self, pictures):
        return [np.stack(list(pictures)).astype(np.float32) + 1]

    maps = to_maps


def open_toy(spec):
    """In place of `trainer.training.evaluation_schedule.open_extractor`."""
    return {"toy": Toy, "layers": ToyWithLayers}[spec]()


if __name__ == "__main__":
    # `python tests/toy_features.py OPTIONS` is `python -m trainer.task OPTIONS` with the toy.
    from trainer import task
    from trainer.training import evaluation_schedule

    evaluation_schedule.open_extractor = open_toy
    task.main(sys.argv[1:])
