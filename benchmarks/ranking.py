"""`python -m benchmarks.ranking`: check that features rank pictures by how damaged they are.

The photos are split into two halves. One is the real set; the other is spoilt more and more, at the size given, and measured against it.
KID and FID should rise with every grade, whatever the damage; recall and coverage should fall as classes go missing. Damage marked +
was never shown to the packshot encoder.

Example:
  python -m benchmarks.ranking --data folder:clothing-dataset-small/train --size 64 --export r3gan=runs/r3gan/export
"""

import time
from collections.abc import Callable, Iterator

import click
import numpy as np

from data.catalogue import open_source
from data.images import grid, save_png
from data.quarantine import Quarantine
from trainer.console import progress
from trainer.errors import refusing
from trainer.features.catalogue import open_features
from trainer.features.damage import blurred, compressed, faded, noisy
from trainer.metrics.distribution import fid, kid
from trainer.metrics.estimate import Estimate
from trainer.metrics.neighbours import density_coverage, precision_recall
from trainer.metrics.vectors import squared_distances

MODES = (10, 8, 6, 4, 2)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)


def with_squares(picture: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` grey squares of an eighth of the side, anywhere."""
    covered, side = picture.copy(), len(picture) // 8
    for top, left in random.integers(0, len(picture) - side + 1, (count, 2)):
        covered[top : top + side, left : left + side] = 128
    return covered


def tinted(picture: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Red more and blue less by a share of `amount`, as in the light of a lamp."""
    return np.clip(picture * np.array([1 + amount, 1, 1 - amount]), 0, 255).astype(np.uint8)


def shuffled(picture: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Cut into `count` x `count` tiles, put together in any order: the textures stay, the product goes."""
    side = len(picture) // count
    tiles = picture.reshape(count, side, count, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    tiles = tiles[random.permutation(len(tiles))].reshape(count, count, side, side, 3)
    return tiles.swapaxes(1, 2).reshape(picture.shape)


DAMAGES: dict[str, tuple[Callable, tuple]] = {
    "blur, px": (lambda picture, sigma, _: blurred(picture, sigma), (0.4, 0.7, 1.0, 1.5, 2.5)),
    "noise, levels": (noisy, (4, 8, 16, 32)),
    "JPEG, quality": (lambda picture, quality, _: compressed(picture, quality), (80, 60, 40, 20, 10)),
    "contrast, share left": (lambda picture, contrast, _: faded(picture, contrast), (0.9, 0.8, 0.6, 0.4)),
    "squares, number +": (with_squares, (2, 4, 8, 16)),
    "tint, share +": (tinted, (0.05, 0.1, 0.2, 0.4)),
    "shuffled tiles, a side +": (shuffled, (2, 4, 8, 16)),
}


def spoilt(pictures: np.ndarray, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """The grades of a damage, and the uint8 pictures [n, side, side, 3] with each; the same numbers are drawn for every grade."""
    damage, grades = DAMAGES[name]
    for grade in grades:
        random = np.random.default_rng(0)
        yield grade, np.stack([damage(picture, grade, random) for picture in pictures])


def with_others(rows: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """Returns as many rows as `rows`, of which a share are from `others`."""
    count = round(share * len(rows))
    return np.concatenate([rows[count:], others[:count]])


def of_modes(rows: np.ndarray, labels: np.ndarray, modes: int, count: int) -> np.ndarray:
    """`count` of the rows that have one of the `modes` most frequent labels."""
    frequent = np.argsort(-np.bincount(labels), kind="stable")[:modes]
    return rows[np.isin(labels, frequent)][:count]


def agreement(real, real_labels, other, other_labels, neighbours: int = 5) -> Estimate:
    """The share of `other` whose label most of its nearest in `real` have."""
    order = np.argsort(squared_distances(other, real), axis=1)[:, :neighbours]
    votes = np.stack([(real_labels[order] == label).sum(axis=1) for label in range(real_labels.max() + 1)], axis=1)
    right = votes.argmax(axis=1) == other_labels
    return Estimate(right.mean(), right.std() / np.sqrt(len(right)))


def neighbours_sheet(real, real_pictures, other, other_pictures, *, rows=16, columns=9) -> np.ndarray:
    """First a picture of `other`, then its nearest in `real`, nearest first; uint8 [H, W, 3]."""
    chosen = np.linspace(0, len(other) - 1, rows).astype(int)
    order = np.argsort(squared_distances(other[chosen], real), axis=1)[:, : columns - 1]
    lines = [
        np.concatenate([other_pictures[[one]], real_pictures[near]]) for one, near in zip(chosen, order, strict=True)
    ]
    return grid(np.concatenate(lines), columns)


def line(name, grades, values) -> str:
    """A line of the table: the grades, and KID in thousandths and FID at each."""
    cells = [" → ".join(map(str, grades))]
    for number, scale in ((0, 1000), (1, 1)):
        cells.append(" → ".join(f"{scale * v[number].value:.1f} ± {scale * v[number].error:.1f}" for v in values))
    rises = all(a[0].value < b[0].value and a[1].value < b[1].value for a, b in zip(values, values[1:], strict=False))
    return f"| {name} | {' | '.join(cells)} | {'yes' if rises else '**no**'} |"


def read(spec, size):
    """Pictures uint8 [n, size, size, 3] and labels int [n] of a source, in an order shuffled with a fixed seed."""
    source = open_source(spec)
    examples = progress(source.examples(size, "crop", Quarantine()), source.count, "reading")
    labelled = [(example["image"], example["label"]) for example in examples]
    pictures, labels = np.stack([image for image, _ in labelled]), np.array([label for _, label in labelled])
    order = np.random.default_rng(0).permutation(len(pictures))
    return pictures[order], labels[order], source.classes


@click.command(help=__doc__.replace("Example:", "\b\nExample:"), context_settings={"show_default": True})
@click.option("--data", required=True, help="a source with labels, as for training", metavar="SOURCE")
@click.option("--held-out", help="more pictures like them: KID against these should be about 0", metavar="SOURCE")
@click.option("--features", default="packshot")
@click.option("--size", default=64, type=click.IntRange(16), help="px a side, at which damage is done")
@click.option(
    "--export", "exports", multiple=True, metavar="NAME=FOLDER", help="models to rank, the best first; repeatable"
)
@click.option("--neighbours", metavar="FILE", help="a PNG of photos and their nearest neighbours by the features")
def main(*, data, held_out, features, size, exports, neighbours):
    with refusing():
        extractor = open_features(features)
        pictures, labels, classes = read(data, size)
    began = time.perf_counter()
    rows = extractor.vectors(pictures)
    seconds = time.perf_counter() - began
    half = len(rows) // 2
    real, other, real_labels, other_labels = rows[:half], rows[half:], labels[:half], labels[half:]
    click.echo(f"{extractor.name}, {len(rows):,} pictures of {size} px in {seconds:.0f} s, {rows.shape[1]} features")
    pixels = pictures.reshape(len(pictures), -1).astype(float)
    for name, by in (("features", rows), ("pixels", pixels)):
        right = agreement(by[:half], real_labels, by[half:], other_labels)
        click.echo(f"right class by the five nearest by {name}: {right.value:.3f} ± {right.error:.3f}")
    if neighbours:
        save_png(neighbours, neighbours_sheet(real, pictures[:half], other, pictures[half:]))

    click.echo("\n| damage | grades | KID x 1000 | FID | rises |\n|---|---|---|---|---|")
    none = (kid(real, other), fid(real, other))
    click.echo(line("none: half against half", ["-"], [none]))
    if held_out:
        more = extractor.vectors(read(held_out, size)[0])
        click.echo(line("none: all against held out", ["-"], [(kid(rows, more), fid(rows, more))]))
    for name in DAMAGES:
        found = [(g, extractor.vectors(worse)) for g, worse in spoilt(pictures[half:], name)]
        values = [none, *((kid(real, worse), fid(real, worse)) for _, worse in found)]
        click.echo(line(name, ["none", *(g for g, _ in found)], values))
    stranger = np.bincount(labels).argmax()
    real_rest, other_rest = real[real_labels != stranger], other[other_labels != stranger]
    found = [with_others(other_rest, rows[labels == stranger], share) for share in SHARES]
    values = [(kid(real_rest, mixed), fid(real_rest, mixed)) for mixed in found]
    click.echo(line(f"share of {classes[stranger]} among the others", SHARES, values))
    count = len(of_modes(other, other_labels, MODES[-1], len(other)))
    found = [of_modes(other, other_labels, modes, count) for modes in MODES]
    values = [(kid(real, few), fid(real, few)) for few in found]
    click.echo(line(f"classes left, n = {count}", MODES, values))
    for name, measure, part in (("recall", precision_recall, 1), ("coverage", density_coverage, 1)):
        shown = [measure(real, few)[part] for few in found]
        falls = all(a.value > b.value for a, b in zip(shown, shown[1:], strict=False))
        click.echo(
            f"{name}: {' → '.join(f'{v.value:.3f} ± {v.error:.3f}' for v in shown)}, falls: {'yes' if falls else 'no'}"
        )
    if exports:
        click.echo(line_of_models(extractor, rows, [word.partition("=") for word in exports]))


def line_of_models(extractor, rows, exports) -> str:
    """The models against all photos, as many pictures as there are photos."""
    from serving.export.offline import sample

    with refusing():
        samples = [extractor.vectors(sample(folder, len(rows), seed=0)) for _, _, folder in exports]
    values = [(kid(rows, made), fid(rows, made)) for made in samples]
    return line("models", [name for name, _, _ in exports], values)


if __name__ == "__main__":
    main()
