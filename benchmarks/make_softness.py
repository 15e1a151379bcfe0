"""`python -m benchmarks.make_softness PHOTOS`: fit the weights of `data.inspection.softness` to photos as they are and blurred on purpose.

Every second photo by name is used, so that the others can serve for measuring, and drawings: each as it is, blurred, enlarged and
shaken. A ridge keeps the weights small; sound and spoilt photos weigh the same together.
"""

import io
from itertools import chain

import click
import numpy as np
from PIL import Image

from benchmarks.defects import blurred, resized, saved, shaken
from benchmarks.make_lettering import drawings
from data import files
from data.images import BadPicture
from data.inspection import inventory, softness
from data.inspection.survey import picture_of
from data.inspection.thresholds import SIDE
from data.sources.parallel import ordered_map
from trainer.console import progress
from trainer.errors import refusing

RIDGE = 1e-4  # of the number of photos
EACH = 4  # ways in which a photo is spoilt
WAYS = (
    *(shaken(length) for length in (9, 12, 15, 20, 25)),
    *(blurred(sigma) for sigma in (1.5, 2, 3, 5, 8)),
    *(lambda picture, random, factor=factor: saved(resized(factor)(resized(1 / factor)(picture))) for factor in (3, 4)),
)


@click.command(help=__doc__)
@click.argument("photos")
@click.option("--out", default=str(softness.FILE), type=click.Path(dir_okay=False), help=".npz", show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(photos, out, seed):
    with refusing():
        files.check_writable(out)
        source = inventory.take(photos)
    names = sorted(entry.name for entry, _ in source.pictures())[::2]
    pictures = chain((load() for _, load in source.pictures(names)), drawings())
    pairs = ordered_map(lambda item: _measured(item[1], item[0], seed), enumerate(pictures))
    rows = np.stack([pair for pair in progress(pairs, None, "measuring") if pair is not None])
    sound, spoilt = rows[:, 0], rows[:, 1:].reshape(-1, rows.shape[2])
    weights = fit(sound, spoilt)
    buffer = io.BytesIO()
    np.savez(buffer, **weights)
    files.write(out, buffer.getvalue())
    odds = softness.odds(sound, weights)
    shown = ", ".join(f"{share:.1%} below {np.quantile(odds, share):.2f}" for share in (0.98, 0.99, 0.995, 0.998))
    least = np.quantile(softness.odds(spoilt, weights), 0.01)
    click.echo(f"{out}: {len(sound):,} photos; as they are, {shown}; blurred, 1% below {least:.2f}")


def _measured(content, number, seed):
    """Measures [1 + EACH, 8] of a photo as it is and spoilt in the ways that its number chooses; None for one that has none."""
    random = np.random.default_rng((seed, number))
    try:
        sound = picture_of(content, SIDE)
        ways = [WAYS[(EACH * number + way) % len(WAYS)] for way in range(EACH)]
        pictures = [sound, *(picture_of(way(Image.fromarray(sound), random), SIDE) for way in ways)]
    except BadPicture:
        return None
    rows = [softness.measures(np.asarray(Image.fromarray(one).convert("L"), np.float32)) for one in pictures]
    return None if rows[0] is None else np.stack(rows)


def fit(sound: np.ndarray, spoilt: np.ndarray) -> dict[str, np.ndarray]:
    """The weights that `softness.odds` takes, from measures [n, 8] of either, by Newton's method."""
    centre, scale = sound.mean(axis=0), sound.std(axis=0)
    rows = np.concatenate([softness.products(sound, centre, scale), softness.products(spoilt, centre, scale)])
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    counts = np.array([len(sound), len(spoilt)])
    truth, share = np.repeat([0.0, 1.0], counts), np.repeat(len(rows) / 2 / counts, counts)
    weight = np.zeros(rows.shape[1])
    ridge = RIDGE * len(rows) * np.eye(len(weight))
    ridge[-1, -1] = 0.0
    for _ in range(50):
        predicted = 1 / (1 + np.exp(-rows @ weight))
        bend = rows.T @ ((share * predicted * (1 - predicted))[:, None] * rows) + ridge
        weight -= np.linalg.solve(bend, rows.T @ (share * (predicted - truth)) + ridge @ weight)
    return {"centre": centre, "scale": scale, "weight": weight[:-1], "offset": weight[-1]}


if __name__ == "__main__":
    main()
