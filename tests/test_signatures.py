"""The ready-made signatures: what comes back for what goes in, and that a row never sees its batch."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from toy_models import enhancer, generator, translator

from data.random import RowRandom
from serving.export.session import Session, SessionError

SIZE, LATENT = 8, 4


def _generate(z, label=None):
    mixed = tf.reshape(tf.tile(z, [1, 3 * SIZE * SIZE // LATENT]), [-1, SIZE, SIZE, 3])
    return tf.tanh(mixed if label is None else mixed + tf.cast(label, tf.float32)[:, None, None, None])


def _invert(x):
    # A convolution, because its kernel is what aborts the process on a wrong rank.
    return tf.nn.conv2d(x, -tf.eye(3)[tf.newaxis, tf.newaxis], 1, "SAME")


def _double(x):
    return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)


CLASSES = ("1", "größe", "2")
SETS = {
    "generation": generator(_generate, latent_size=LATENT, resolution=SIZE).signatures(),
    "labelled": generator(_generate, latent_size=LATENT, resolution=SIZE, conditions=[("label", CLASSES)]).signatures(),
    "translation": translator(_invert, SIZE).signatures(),
    "enhancement": enhancer(_double).signatures(),
}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """All signatures of all sets in one folder, as `<set>_<signature>`."""
    functions = {}
    for kind, ready in SETS.items():
        for name, signature in ready.items():
            specs = {alias: tf.TensorSpec(spec.shape, spec.dtype, alias) for alias, spec in signature.inputs.items()}
            functions[f"{kind}_{name}"] = tf.function(signature.function).get_concrete_function(**specs)
    path = str(tmp_path_factory.mktemp("model"))
    tf.saved_model.save(tf.Module(), path, signatures=functions)
    with Session(path) as session:
        yield session


def _file(array, format="PNG", mode=None):
    buffer = io.BytesIO()
    Image.fromarray(array, mode).save(buffer, format)
    return buffer.getvalue()


def _open(content):
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def _noise(*shape):
    return np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)


def _files(*contents):
    return {"image_bytes": np.array(contents, object)}


@pytest.mark.parametrize("kind", SETS)
def test_the_default_comes_first_and_is_another_name_of_the_second(kind):
    first, second, *_ = SETS[kind]
    assert first == "serving_default" and SETS[kind][first] is SETS[kind][second]


@pytest.mark.parametrize("kind, name", [(kind, name) for kind, ready in SETS.items() for name in ready])
def test_a_sample_request_is_as_declared_and_the_server_answers_like_eager(session, kind, name):
    signature = SETS[kind][name]
    request = signature.samples(np.random.default_rng(1), 3)
    for alias, spec in signature.inputs.items():
        assert spec.shape.is_compatible_with(request[alias].shape) and spec.shape[0] is None
    live = signature.function(**{alias: tf.constant(value) for alias, value in request.items()})
    answer = session.run(f"{kind}_{name}", request)
    assert answer.keys() == live.keys()
    for alias in answer:
        np.testing.assert_array_equal(answer[alias], live[alias].numpy())


def test_a_picture_is_a_function_of_its_seed_alone(session):
    def generate(seed, truncation):
        request = {"seed": np.array(seed), "truncation": np.array(truncation, np.float32)}
        return session.run("generation_generate", request)["images"]

    together = generate([5, 2**62, -7], [1, 1, 1])
    np.testing.assert_array_equal(generate([-7], [1])[0], together[2])
    np.testing.assert_array_equal(generate([2**62, 1], [1, 0.5])[0], together[1])
    assert (together[0] != together[1]).any()
    assert (generate([5], [0]) == 128).all()  # no noise left: the middle of the range
    assert together.dtype == np.uint8 and together.shape == (3, SIZE, SIZE, 3)


def test_noise_is_standard_normal():
    z = RowRandom(tf.range(400, dtype=tf.int64)).normal(400, 256).numpy()
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01  # 3 standard errors of 102,400 draws
    assert abs(np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("name", ["generate", "generate_png", "latents"])
@pytest.mark.parametrize("label", [-1, len(CLASSES), 2**40])
def test_a_label_out_of_range_is_refused_with_a_sentence(session, name, label):
    request = SETS["labelled"][name].samples(np.random.default_rng(0), 2) | {"label": np.array([0, label])}
    with pytest.raises(SessionError, match="label must lie in 0 .. 2, not") as caught:
        session.run(f"labelled_{name}", request)
    assert caught.value.code == 3


@pytest.mark.parametrize("name, alias", [("generate", "truncation"), ("generate_png", "truncation"), ("latents", "z")])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_with_a_sentence(session, name, alias, value):
    request = SETS["labelled"][name].samples(np.random.default_rng(0), 2)
    request[alias].flat[-1] = value
    with pytest.raises(SessionError, match=f"{alias} must be finite, not") as caught:
        session.run(f"labelled_{name}", request)
    assert caught.value.code == 3


@pytest.mark.parametrize(
    "name, request_",
    [
        ("translation_apply", {"images": np.zeros((SIZE, SIZE, 3), np.uint8)}),
        ("translation_apply", {"images": np.zeros((1, 1, SIZE, SIZE, 3), np.uint8)}),
        ("translation_apply", {"images": np.zeros((1, SIZE + 1, SIZE, 3), np.uint8)}),
        ("enhancement_apply", {"images": np.zeros((1, SIZE, SIZE, 4), np.uint8)}),
        ("enhancement_apply_bytes", {"image_bytes": np.array(b"", object)}),
        ("enhancement_apply_bytes", {"image_bytes": np.array([b"no picture"], object)}),
        ("translation_apply_bytes", {"image_bytes": np.array([[b""]], object)}),
        ("generation_latents", {"z": np.zeros((2, LATENT + 1), np.float32)}),
        ("generation_generate", {"seed": np.zeros((1, 1), np.int64), "truncation": np.ones(1, np.float32)}),
    ],
)
def test_a_wrong_shape_is_refused_and_the_process_lives(session, name, request_):
    with pytest.raises(SessionError) as caught:
        session.run(name, request_)
    assert caught.value.code == 3


def test_pictures_of_any_size_go_through_byte_for_byte(session):
    small, wide = _noise(5, 7, 3), _noise(9, 4, 3)
    answers = session.run("enhancement_apply_bytes", _files(_file(small), _file(wide)))["image_bytes"]
    for answer, picture in zip(answers, (small, wide), strict=True):
        np.testing.assert_array_equal(_open(answer), picture.repeat(2, axis=0).repeat(2, axis=1))


def test_translation_resizes_with_antialiasing(session):
    lines = np.zeros((4 * SIZE, 4 * SIZE, 3), np.uint8)
    lines[:, ::2] = 255  # without antialiasing these become black or white
    answer = _open(session.run("translation_apply_bytes", _files(_file(lines)))["image_bytes"][0])
    assert answer.shape == (SIZE, SIZE, 3)
    assert (np.abs(answer[:, 1:-1].astype(int) - 127) <= 8).all()


@pytest.mark.parametrize("format", ["JPEG", "GIF", "BMP", "WEBP"])
def test_every_format_is_read(session, format):
    content = _file(np.full((6, 6, 3), 255, np.uint8), format)
    answer = session.run("enhancement_apply_bytes", _files(content))["image_bytes"][0]
    assert (_open(answer) == 255).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_transparency_is_laid_over_white(session, mode):
    picture = Image.fromarray(_noise(6, 5, 4)).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    canvas = Image.new("RGBA", picture.size, "white")
    canvas.alpha_composite(picture.convert("RGBA"))
    answer = _open(session.run("enhancement_apply_bytes", _files(buffer.getvalue()))["image_bytes"][0])
    assert np.abs(answer[::2, ::2].astype(int) - np.array(canvas.convert("RGB"))).max() <= 1


def test_half_precision_models_answer_in_uint8():
    half = translator(lambda x: tf.cast(x, tf.bfloat16), SIZE).signatures()["apply"]
    answer = half.function(images=tf.constant(_noise(1, SIZE, SIZE, 3)))["images"]
    assert answer.dtype == tf.uint8


def test_a_model_tells_the_names_of_its_classes(session):
    answer = session.run("labelled_classes", {"label": np.array([2, 0, 1, 1], np.int64)})
    assert [name.decode() for name in answer["name"]] == ["2", "1", "größe", "größe"]
    assert answer["count"].tolist() == [3, 3, 3, 3] and answer["count"].dtype == np.int64
    assert session.signatures["labelled_classes"].outputs["name"].shape == (None,)
    assert "generation_classes" not in session.signatures
    for label in (-1, 3):
        with pytest.raises(SessionError, match="label must lie in 0 .. 2"):
            session.run("labelled_classes", {"label": np.array([0, label], np.int64)})
