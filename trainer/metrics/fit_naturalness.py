"""Fit a model for NIQE to a folder of sharp photos; only statistics are kept, no pixels.

The model shipped with packshot was fitted to the 3,068 training photos of clothing-dataset-small (CC0) at half size, since shrinking hides
JPEG artifacts and camera shake.

Example:
  python -m trainer.metrics.fit_naturalness clothing-dataset-small/train --shrink 2 --out trainer/metrics/naturalness.npz
"""

import os

import click

from data import files
from data.degrade import downscale
from data.images import BadPicture, decode
from trainer.console import progress
from trainer.errors import refusing
from trainer.metrics import naturalness


@click.command(help=__doc__.replace("Example:", "\b\nExample:"))
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="model to write, .npz")
@click.option("--patch", default=naturalness.PATCH, show_default=True, help="side of a patch in pixels")
@click.option(
    "--shrink",
    default=1,
    type=click.IntRange(min=1),
    show_default=True,
    help="factor by which photos are shrunk first, to hide JPEG blocks and soft lenses",
)
def main(folder, out, patch, shrink):
    with refusing():
        model = naturalness.fit(_pictures(folder, shrink), patch)
        model.save(out)
    click.echo(f"{out}: {model.digest}")


def _pictures(folder, shrink):
    paths = list(files.walk(folder))
    for path in progress(paths, len(paths), "reading"):
        try:
            picture = decode(files.read(os.path.join(folder, path)))
        except BadPicture as error:
            click.echo(f"left out {path}: {error}", err=True)
            continue
        yield downscale(picture, shrink) if shrink > 1 else picture


if __name__ == "__main__":
    main()
