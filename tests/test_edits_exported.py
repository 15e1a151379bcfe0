"""Edits that an export holds: each gives what `data/edits.py` gives, and a version with a chain of them answers and is used."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import tensorflow as tf
from click.testing import CliRunner
from families import tiny
from PIL import Image
from test_edits import DEFAULTS, on_backdrop
from watching import watched

from data.edits import parse
from data.errors import UserError
from models.edits import Edited
from serving.client.client import Client
from serving.export import offline
from serving.export.export import export
from trainer.cli import main

CHAIN = parse("white_balance:white"), parse("whiten,square:40")


def photos():
    """A real photo, a product on a noisy near-white backdrop, and the smallest of all."""
    noise = np.random.default_rng(0).integers(0, 4, (60, 80, 3), np.uint8)
    return skimage.data.chelsea()[40:184:2, 100:324:2], on_backdrop() + noise, np.full((1, 1, 3), 200, np.uint8)


@pytest.fixture(scope="module")
def edit():
    """A function that runs a line in the graph, on a batch of one."""

    def run(line, pixels):
        model = tiny("nafnet")
        model.apply = lambda images: images
        return Edited(model, parse(line), parse("")).signatures()["apply"].function(
            images=tf.constant(pixels[np.newaxis]), strength=tf.ones([1])
        )["images"][0].numpy()  # fmt: skip

    return run


@pytest.mark.parametrize(
    "line", [*(line for line in DEFAULTS if line != "crop"), "sharpen:2:5", "median:3", "crop,square:90"]
)
def test_an_edit_in_the_graph_gives_what_it_gives_in_files(edit, line):
    for photo in photos():
        wanted, found = parse(line)(photo).astype(int), edit(line, photo)
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= (2 if "sharpen" in line else 1)
        assert "sharpen" in line or (found != wanted).mean() < 0.01


def test_a_backdrop_is_found_round_corners(edit):
    """Four walls, one within the other, with gaps at the left above and below in turn."""
    photo, side = np.full((201, 201, 3), 245, np.uint8), 201
    for ring in range(20, 100, 20):
        photo[ring, ring : side - ring] = photo[side - 1 - ring, ring : side - ring] = 60
        photo[ring : side - ring, ring] = photo[ring : side - ring, side - 1 - ring] = 60
        gap = slice(ring + 1, ring + 20) if ring % 40 else slice(side - ring - 20, side - ring - 1)
        photo[gap, ring] = 245
    found = edit("whiten", photo)
    np.testing.assert_array_equal(found, parse("whiten")(photo))
    assert (found[100, 100] == 255).all()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(models' folder, version) of a tiny model of scale 1 with `CHAIN`."""
    to = str(tmp_path_factory.mktemp("models"))
    before, after = map(str, CHAIN)
    metadata = {"edits": {"before": before, "after": after}}
    return to, export(Edited(tiny("nafnet"), *CHAIN), to, "chain", metadata=metadata)


def test_an_export_of_a_chain_answers_edited_over_the_wire_and_alone(exported):
    to, version = exported
    photo = photos()[1]
    with offline.enhancer(version) as model:
        wanted = CHAIN[1](model(CHAIN[0](photo)))
    (png,) = offline.apply(version, [_png(photo)])
    assert offline.edits(version) == CHAIN
    with watched(Path(to), "chain") as server, Client(server.grpc) as client:
        arrays = client.predict("chain", {"images": photo[np.newaxis]}, signature="apply")["images"]
        files = client.predict("chain", {"image_bytes": np.array([_png(photo)], object)}, signature="apply_bytes")[
            "image_bytes"
        ]
    for found in (arrays[0], _pixels(files[0]), _pixels(png)):
        assert found.shape == wanted.shape == (40, 40, 3)
        assert np.abs(found.astype(int) - wanted).max() <= 2


def test_enhance_makes_the_edits_that_an_export_holds_within_its_own(exported, tmp_path):
    _, version = exported
    photo = photos()[0]
    (tmp_path / "a.png").write_bytes(_png(photo))
    words = [
        "--model",
        version,
        "--edits",
        "exposure:0.2",
        "--after",
        "square:60",
        "--tile",
        "64",
        "--out",
        tmp_path / "out",
    ]
    done = CliRunner().invoke(main, ["enhance", *map(str, [tmp_path / "a.png", *words])])
    assert done.exit_code == 0, done.output
    with offline.enhancer(version, tile=64) as model:
        wanted = parse("square:60")(CHAIN[1](model(CHAIN[0](parse("exposure:0.2")(photo)))))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/a.png")), wanted)


def test_what_no_batch_can_hold_and_what_does_not_enhance_is_refused():
    for line in ("crop", "square:40,crop", "crop,square"):
        with pytest.raises(UserError, match=f"crop gives each photo another size: .* not as in {line}$"):
            Edited(tiny("espcn"), parse(""), parse(line))
    for name in ("pix2pix", "dcgan"):
        with pytest.raises(UserError, match="edits are exported with models that enhance"):
            Edited(tiny(name), parse("exposure:1"), parse(""))


def _png(pixels):
    return tf.io.encode_png(pixels).numpy()


def _pixels(content):
    return tf.io.decode_png(content).numpy()
