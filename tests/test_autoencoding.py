"""What families promise that encode pictures as well as make them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from families import FAMILIES, tiny, told

from data.images import to_float
from models import catalogue
from models.tasks import Autoencoding
from serving.export import offline
from serving.export.export import export
from serving.export.session import Session

AUTOENCODERS = [name for name in FAMILIES if issubclass(catalogue.load(name).Model, Autoencoding)]


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_an_export_answers_for_its_pictures(name, tmp_path):
    """In C++: the mean of z of a picture, the picture that is decoded from it, and the same of files."""
    keras.utils.set_random_seed(0)
    model = tiny(name, facts=told(name))
    rng = np.random.default_rng(0)
    images, label = rng.integers(256, size=(3, 16, 16, 3)).astype(np.uint8), np.array([2, 0, 1])
    files = np.array([tf.io.encode_png(image).numpy() for image in images], object)
    version = export(model, str(tmp_path), name, metadata={"task": model.task})
    with Session(version) as session:
        z = session.run("encode", {"images": images})["z"]
        seen = session.run("reconstruct", {"images": images, "label": label})["images"]
        decoded = session.run("latents", {"z": z, "label": label})["images"]
        of_files = session.run("encode_bytes", {"image_bytes": files})["z"]
        png = session.run("reconstruct_bytes", {"image_bytes": files, "label": label})["image_bytes"]
    for number, file in enumerate(files):
        (tmp_path / f"{number}.png").write_bytes(file)
    pair = str(tmp_path / "0.png"), str(tmp_path / "2.png")
    between = offline.between(version, [pair, (pair[0], 7)], 3, conditions={"label": 2})
    of_seven = offline.sample(version, 1, 7, conditions={"label": 2})
    for place, picture in ((0, seen[0]), (3, seen[0]), (5, of_seven[0])):
        assert np.abs(between[place].astype(int) - picture).max() <= 1
    assert np.abs(between[2].astype(int) - seen[2]).max() > 1  # the other photo, told another class
    mean, _ = model.ema.get_layer("encoder")(to_float(images))
    assert z.shape == (3, model.config.latent_size) and z.dtype == np.float32
    np.testing.assert_allclose(z, mean, atol=1e-4)
    np.testing.assert_allclose(of_files, z, atol=1e-4)
    for picture, file, other in zip(seen, png, decoded, strict=True):
        assert np.abs(picture.astype(int) - other).max() <= 1
        assert np.abs(picture.astype(int) - tf.io.decode_png(file).numpy()).max() <= 1
