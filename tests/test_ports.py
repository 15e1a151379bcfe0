"""Ports: what a family declares beyond its task is derived, checked, exported, served and asked for like the rest."""

import io
import json
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from toy_models import generator
from watching import watched

from data.facts import Condition, Facts
from models import ports
from models.signatures import Endpoint, derive, names_of
from models.tasks import Generation, Translation
from serving.client.client import Client
from serving.export import offline
from serving.export.export import export
from serving.export.session import Session, SessionError
from trainer import cli

SIZE = 8
COLOUR = Condition("colour", ("red", "blue"), optional=True)


class Autoencoder(Generation):
    """Keeps one grey a row: encode gives it twice, decode paints it. Reconstructs a picture as its mean."""

    facts = Facts()
    config = types.SimpleNamespace(latent_size=2, resolution=SIZE)

    def ema(self, inputs, training):
        return tf.tile(tf.reduce_mean(inputs[0], axis=1)[:, None, None, None], [1, SIZE, SIZE, 3])

    def encode(self, images):
        return {"z": tf.tile(tf.reduce_mean(images, axis=[1, 2, 3])[:, None], [1, 2])}

    def endpoints(self):
        picture, latent = ports.Picture(SIZE), ports.Latent((2,))
        return super().endpoints() | {
            "encode": Endpoint(self.encode, {"images": picture}, {"z": latent}),
            "reconstruct": Endpoint(
                lambda images: {"images": self.decode(self.encode(images)["z"], [])},
                {"images": picture},
                {"images": picture},
            ),
        }


class Inpainter(Translation):
    """Paints the hole white, and everything else black, which must not be seen."""

    config = types.SimpleNamespace(resolution=SIZE)

    def __init__(self, size=SIZE):
        self.size = size

    def endpoints(self):
        picture, mask = ports.Picture(self.size), ports.Mask(self.size)
        filled = Endpoint(
            lambda images, mask: {"images": 2.0 * mask - 1.0 + 0.0 * images},
            {"images": picture, "mask": mask},
            {"images": picture},
            within="mask",
        )
        return {"apply": filled}


def _cutter():
    """Gives an alpha, and the picture's brightness as a code: every output that no task has."""
    return {
        "cut": Endpoint(
            lambda images, text, codes: {
                "alpha": tf.reduce_mean(images, axis=3, keepdims=True) / 2.0 + 0.5,
                "codes": codes,
                "text": tf.strings.join([text, "!"]),
            },
            {"images": ports.Picture(SIZE), "text": ports.Text(), "codes": ports.Codes((3,), 5)},
            {"alpha": ports.Mask(SIZE), "codes": ports.Codes((3,), 5), "text": ports.Text()},
        )
    }


def _tint():
    """Brightens pictures by what it is told of them."""
    label = Condition("label", ("hats", "shoes"))

    def tint(images, label, colour):
        change = 0.4 * tf.cast(label, tf.float32) + 0.2 * tf.cast(colour, tf.float32)
        return {"images": images + change[:, None, None, None]}

    told = {"label": ports.Condition(label), "colour": ports.Condition(COLOUR)}
    picture = ports.Picture(SIZE)
    names = {"classes": names_of(label), "colour_values": names_of(COLOUR)}
    return {"tint": Endpoint(tint, {"images": picture} | told, {"images": picture})} | names


def _model(endpoints):
    return types.SimpleNamespace(signatures=lambda: derive(endpoints))


@pytest.fixture(scope="module")
def to(tmp_path_factory):
    """A folder with exports of the models above; the gate has run all their signatures."""
    to = tmp_path_factory.mktemp("models")

    def painted(z, label, colour):
        tint = 0.1 * tf.cast(label, tf.float32) + 0.4 * tf.cast(colour, tf.float32)
        return tf.tanh(tf.tile((tint + z[:, 0])[:, None, None, None], [1, SIZE, SIZE, 3]))

    told = generator(painted, latent_size=2, resolution=SIZE, conditions=[("label", ("hats", "shoes")), COLOUR])
    models = {
        "tint": _model(_tint()),
        "vae": Autoencoder(),
        "inpaint": Inpainter(),
        "inpaint_any": Inpainter(None),
        "told": told,
    }
    for name, model in (models | {"cut": _model(_cutter())}).items():
        export(model, str(to), name, metadata={})
    return to


@pytest.fixture(scope="module")
def server(to):
    with watched(to, "tint", "vae", "inpaint", "inpaint_any", "told", "cut") as server:
        yield server


def _png(array):
    buffer = io.BytesIO()
    Image.fromarray(np.squeeze(array)).save(buffer, "PNG")
    return buffer.getvalue()


def _open(content):
    return np.array(Image.open(io.BytesIO(content)))


def _noise(*shape):
    return np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)


def test_signatures_are_named_for_what_they_take_and_give(to):
    expected = {
        "vae": [
            "apply",
            "encode",
            "encode_bytes",
            "generate",
            "generate_png",
            "latents",
            "reconstruct",
            "reconstruct_bytes",
        ][1:],
        "inpaint": ["apply", "apply_bytes"],
        "told": ["classes", "colour_values", "generate", "generate_png", "latents"],
        "cut": ["cut", "cut_bytes"],
    }
    for name, signatures in expected.items():
        report = json.loads((to / name / "1" / "export.json").read_text())
        assert report["schema"] == 2 and sorted(report["interface"]) == signatures
        with Session(str(to / name / "1")) as session:
            assert sorted(session.signatures) == sorted([*signatures, "serving_default"])
            # What a client can tell of a model by its metadata is what export.json says of it.
            known, guessed = offline.interface(str(to / name / "1"), session), offline.inferred(session.signatures)
            assert known.keys() == guessed.keys()
            for key, signature in known.items():
                ends = zip(
                    (signature.inputs, signature.outputs), (guessed[key].inputs, guessed[key].outputs), strict=True
                )
                for told, seen in ends:
                    assert {a: (p.kind, p.file, p.optional, p.default) for a, p in told.items()} == {
                        a: (p.kind, p.file, p.optional, p.default) for a, p in seen.items()
                    }
                assert signature.files_of == guessed[key].files_of


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_every_signature_answers_over_the_wire_as_in_the_session(to, server, transport):
    with Client(getattr(server, transport)) as client:
        for name, model in (("vae", Autoencoder()), ("inpaint", Inpainter()), ("cut", _model(_cutter()))):
            with Session(str(to / name / "1")) as session:
                for key, signature in model.signatures().items():
                    request = signature.samples(np.random.default_rng(3), 2)
                    answer, expected = client.predict(name, request, signature=key), session.run(key, request)
                    assert answer.keys() == expected.keys()
                    for alias, value in expected.items():
                        np.testing.assert_allclose(answer[alias], value, atol=1e-6) if value.dtype.kind == "f" else (
                            np.testing.assert_array_equal(answer[alias], value)
                        )


def test_an_encoder_gives_latents_that_decode_to_what_it_reconstructs(to):
    pictures = np.stack([np.full((SIZE, SIZE, 3), grey, np.uint8) for grey in (10, 200)])
    with Session(str(to / "vae" / "1")) as session:
        z = session.run("encode", {"images": pictures})["z"]
        assert z.shape == (2, 2) and z.dtype == np.float32
        contents = np.array([_png(picture) for picture in pictures], object)
        np.testing.assert_allclose(session.run("encode_bytes", {"image_bytes": contents})["z"], z, atol=1e-6)
        for images in (
            session.run("latents", {"z": z})["images"],
            session.run("reconstruct", {"images": pictures})["images"],
            [_open(content) for content in session.run("reconstruct_bytes", {"image_bytes": contents})["image_bytes"]],
        ):
            np.testing.assert_array_equal(images, pictures)


def _holes(height, width):
    mask = np.zeros((height, width, 1), np.uint8)
    mask[1 : height // 2, 2 : width // 2] = 255
    return mask


@pytest.mark.parametrize("name", ["inpaint", "inpaint_any"])
def test_not_one_pixel_changes_outside_the_mask(to, name):
    picture, mask = _noise(SIZE, SIZE, 3), _holes(SIZE, SIZE)
    with Session(str(to / name / "1")) as session:
        filled = session.run("apply", {"images": picture[None], "mask": mask[None]})["images"][0]
        np.testing.assert_array_equal(filled, np.where(mask > 0, 255, picture))
        photos = [(_noise(21, 30, 3), _holes(21, 30)), (_noise(16, 9, 3), _holes(16, 9))]  # in their own sizes
        rows = {"image_bytes": [_png(photo) for photo, _ in photos], "mask_bytes": [_png(hole) for _, hole in photos]}
        rows = {alias: np.array(contents, object) for alias, contents in rows.items()}
        for content, (photo, hole) in zip(session.run("apply_bytes", rows)["image_bytes"], photos, strict=True):
            answer = _open(content)
            assert answer.shape == photo.shape
            np.testing.assert_array_equal(np.where(hole > 0, 0, answer), np.where(hole > 0, 0, photo))
            assert (answer[hole[..., 0] > 0] > 200).mean() > 0.5  # and the hole is filled


def test_an_alpha_a_text_and_codes_come_out(to):
    picture = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    picture[:, :, 4:] = 255
    others = {"text": np.array([b"red"], object), "codes": np.array([[0, 4, 2]])}
    with Session(str(to / "cut" / "1")) as session:
        answer = session.run("cut", {"images": picture} | others)
        np.testing.assert_array_equal(answer["alpha"], picture[..., :1])
        assert answer["text"].tolist() == [b"red!"] and answer["codes"].tolist() == [[0, 4, 2]]
        files = session.run("cut_bytes", {"image_bytes": np.array([_png(picture[0])], object)} | others)
        np.testing.assert_array_equal(_open(files["alpha_bytes"][0]), picture[0, ..., 0])
        for wrong in ([[0, 5, 2]], [[-1, 0, 0]]):
            with pytest.raises(SessionError, match="codes must lie in 0 .. 4, not"):
                session.run("cut", {"images": picture} | others | {"codes": np.array(wrong)})


def test_what_may_be_left_out_is_at_its_default_for_every_row(to):
    with Session(str(to / "told" / "1")) as session:
        seeds, label = {"seed": np.arange(3)}, {"label": np.array([0, 1, 0])}
        assert {alias: value.tolist() for alias, value in session.signatures["generate"].defaults.items()} == {
            "colour": [-1], "truncation": [1.0]
        }  # fmt: skip
        whole = {"truncation": np.ones(3, np.float32), "colour": np.full(3, -1)}
        expected = session.run("generate", seeds | label | whole)["images"]
        np.testing.assert_array_equal(session.run("generate", seeds | label)["images"], expected)
        red = session.run("generate", seeds | label | {"colour": np.zeros(3, np.int64)})["images"]
        assert (red != expected).any()
        for request, words in [
            ({"colour": np.full(3, 2)}, "colour must lie in -1 .. 1, not"),
            ({"label": np.array([0, -1, 0])}, "label must lie in 0 .. 1, not"),
        ]:
            with pytest.raises(SessionError, match=words):
                session.run("generate", seeds | label | request)
        with pytest.raises(SessionError, match="Missing but required: {label}"):
            session.run("generate", seeds)


def _run(*words):
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def test_conditions_are_named_on_the_command_line(to, server, tmp_path):
    seeds = ["--seed", 5, "--n", 2]
    done = _run(
        "sample", to / "told", *seeds, "--label", "shoes", "--condition", "colour=blue", "--out", tmp_path / "x.png"
    )
    assert done.exit_code == 0, done.output
    expected = offline.sample(str(to / "told"), 2, 5, conditions={"label": 1, "colour": 1})
    many = offline.sample(str(to / "told"), 12, 0, conditions={"label": 1})
    each = [offline.sample(str(to / "told"), 12, 0, conditions={"label": 1, "colour": colour}) for colour in range(2)]
    drawn = [int(np.array_equal(one, blue)) for one, blue in zip(many, each[1], strict=True)]
    assert all(np.array_equal(many[i], each[colour][i]) for i, colour in enumerate(drawn)) and 0 < sum(drawn) < 12
    np.testing.assert_array_equal(
        offline.sample(str(to / "told"), 1, 7, conditions={"label": 1})[0], many[7]
    )  # drawn by the seed
    for target in (server.grpc, server.rest):
        ask = ["request", "--server", target, "--model", "told", "generate", *seeds, "--out", tmp_path / "out"]
        done = _run(*ask, "--label", "shoes", "--condition", "colour=blue", "--set", "truncation=1")
        assert done.exit_code == 0, done.output
        for row, seed in enumerate((5, 6)):
            made = np.array(Image.open(tmp_path / "out" / f"seed-{seed}-label-shoes-colour-blue.png"))
            np.testing.assert_array_equal(made, expected[row])
        assert _run(*ask, "--label", "shoes").exit_code == 0  # the colour may be unknown
        for words, sentence in [
            (["--label", "shoes", "--condition", "colour=green"], "unknown colour 'green'; have: red, blue"),
            (
                ["--label", "shoes", "--condition", "style=flat"],
                "the model told has no condition style; it has: label, colour",
            ),
            (
                ["--label", "shoes", "--set", "strength=1"],
                "the model told takes no number strength; it takes: truncation",
            ),
            (["--label", "shoes", "--set", "truncation=much"], "--set truncation takes a number, not 'much'"),
            (["--condition", "colour"], "--condition takes name=value, not 'colour'"),
        ]:
            done = _run(*ask, *words)
            assert (done.exit_code, done.output) == (2, f"Error: {sentence}\n")


def test_apply_tells_the_model_what_the_photos_are(to, server, tmp_path):
    """The same for all of them; what may be unknown can be left out, and what may not is asked for."""
    Image.fromarray(np.full((SIZE, SIZE, 3), 128, np.uint8)).save(tmp_path / "photo.png")
    start = [tmp_path / "photo.png", "--signature", "tint", "--out"]
    for number, ask in enumerate(
        (["apply", to / "tint"], ["request", "--server", server.grpc, "--model", "tint", "apply"])
    ):
        out = tmp_path / str(number)
        done = _run(*ask, *start, out, "--label", "shoes", "--condition", "colour=blue")
        assert done.exit_code == 0, done.output
        seen = np.array(Image.open(out / "photo.png")).astype(int)
        assert np.abs(seen - (128 + 51 * 1 + 26 * 1)).max() <= 1
        assert _run(*ask, *start, out, "--label", "shoes").exit_code == 0
        for words, sentence in [
            ([], "hats, shoes"),
            (["--label", "boots"], "unknown label 'boots'; have: hats, shoes"),
            (["--label", "shoes", "--condition", "style=flat"], "it has: label, colour"),
        ]:
            done = _run(*ask, *start, out, *words)
            assert done.exit_code == 2 and sentence in done.output, done.output


def test_apply_asks_any_signature_of_pictures_with_what_else_it_takes(to, server, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for number, (height, width) in enumerate(((16, 16), (20, 12))):
        Image.fromarray(np.full((height, width, 3), 40 * number + 40, np.uint8)).save(
            tmp_path / "photos" / f"{number}.jpg", quality=100
        )
        Image.fromarray(_holes(height, width)[..., 0]).save(tmp_path / "masks" / f"{number}.png")
    request = ["request", "--server", server.grpc, "--model"]
    for number, start in enumerate((["apply", to / "vae"], [*request, "vae", "apply"])):
        done = _run(*start, tmp_path / "photos", "--signature", "reconstruct", "--out", tmp_path / f"seen{number}")
        assert done.exit_code == 0 and "2 of 2 pictures" in done.output, done.output
        grey = np.array(Image.open(tmp_path / f"seen{number}" / "1.png"))
        assert grey.shape == (SIZE, SIZE, 3) and np.abs(grey.astype(int) - 80).max() <= 1
    for number, start in enumerate((["apply", to / "inpaint"], [*request, "inpaint", "apply"])):
        masks = ["--input", f"mask={tmp_path / 'masks'}"]
        done = _run(*start, tmp_path / "photos", *masks, "--out", tmp_path / f"whole{number}")
        assert done.exit_code == 0 and "2 of 2 pictures" in done.output, done.output
        whole = np.array(Image.open(tmp_path / f"whole{number}" / "1.png"))
        assert whole.shape == (20, 12, 3) and np.abs(whole[12:].astype(int) - 80).max() <= 1 and whole.max() > 200
        one = _run(
            *start,
            tmp_path / "photos",
            "--input",
            f"mask={tmp_path / 'masks' / '0.png'}",
            "--out",
            tmp_path / f"one{number}",
        )
        assert one.exit_code == 0, one.output
        done = _run(*start, tmp_path / "photos", "--out", tmp_path / "x")
        assert done.exit_code == 2 and "beside the photo, apply_bytes takes: mask; given: nothing" in done.output
    for words, sentence in [
        (["--signature", "encode"], "makes no pictures of pictures"),
        (["--signature", "undo"], "no signature undo_bytes; it has: "),
        (
            ["--signature", "reconstruct", "--input", "mask=x"],
            "beside the photo, reconstruct_bytes takes: nothing; given: mask",
        ),
        (["--signature", "reconstruct", "--set", "strength=1"], "takes no number strength; it takes: none"),
    ]:
        for start in (["apply", to / "vae"], [*request, "vae", "apply"]):
            done = _run(*start, tmp_path / "photos", *words, "--out", Path(tmp_path / "y"))
            assert done.exit_code == 2 and sentence in done.output, done.output
