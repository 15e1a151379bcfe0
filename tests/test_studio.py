import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data.sources.studio import BACKGROUNDS, COLOURS, Studio
from data.sources.studio_products import KINDS

SIZE = 64


@pytest.fixture(scope="module")
def examples():
    return list(Studio(count=120, seed=3).examples(SIZE))


def test_keys_shapes_and_types(examples):
    studio = Studio(count=120, seed=3)
    assert len(examples) == studio.count
    for example in examples:
        assert example.keys() == studio.keys
        assert example["image"].shape == (SIZE, SIZE, 3) and example["image"].dtype == np.uint8
        assert example["mask"].shape == (SIZE, SIZE, 1) and example["mask"].dtype == np.uint8
        assert type(example["label"]) is int and type(example["caption"]) is str
    assert Studio().example(0)["image"].shape == (128, 128, 3)


def test_attributes_are_those_of_the_caption(examples):
    names = Studio.attributes
    seen = {name: len({example[name] for example in examples}) for name in names}
    assert seen == {"colour": 17, "print": 5, "backdrop": 6}
    for example in examples:
        colour, printed, backdrop = (values[example[name]] for name, values in names.items())
        assert f"{colour} {printed}".removesuffix(" plain") + " " in example["caption"]
        if "background" in example["caption"]:
            assert f"{backdrop} background" in example["caption"]
        assert printed != "plain" or not any(f" {other} " in example["caption"] for other in names["print"])


def test_same_seed_same_bytes_whatever_the_count(examples):
    for first, again in zip(examples, Studio(count=20, seed=3).examples(SIZE), strict=False):
        assert first["image"].tobytes() == again["image"].tobytes()
        assert first["mask"].tobytes() == again["mask"].tobytes()
        assert first["caption"] == again["caption"]


def test_no_two_examples_alike(examples):
    assert len({example["image"].tobytes() for example in examples}) == len(examples)
    other = Studio(seed=4).example(0, SIZE)
    assert other["image"].tobytes() != examples[0]["image"].tobytes()


@pytest.mark.parametrize(("large", "small"), [(64, 32), (256, 64), (100, 50)])
def test_the_same_product_at_any_size(large, small):
    studio = Studio(seed=5)
    for index in range(20):
        big, little = studio.example(index, large), studio.example(index, small)
        assert big["caption"] == little["caption"]
        for key in ("image", "mask"):
            shrunk = np.asarray(Image.fromarray(big[key].squeeze()).resize((small, small), Image.Resampling.BOX))
            assert np.abs(shrunk.astype(float) - little[key].squeeze()).mean() < 4


def test_mask_is_the_whole_product_and_nothing_else(examples):
    for example in examples:
        mask = example["mask"][..., 0]
        assert mask[[0, -1]].max() == 0 and mask[:, [0, -1]].max() == 0
        assert 0.08 < (mask > 127).mean() < 0.75
        rows, columns = np.flatnonzero(mask.max(axis=1) > 127), np.flatnonzero(mask.max(axis=0) > 127)
        assert max(np.ptp(rows), np.ptp(columns)) > 0.66 * SIZE
        outside = example["image"][mask == 0].astype(int)
        assert np.ptp(outside, axis=1).max() < 60, "what surrounds a product is pale, at most shaded"
        assert outside.min() > 90


def test_product_stands_out_from_the_background(examples):
    for example in examples:
        image, mask = example["image"].astype(float), example["mask"][..., 0]
        assert np.abs(image[mask == 255].mean(axis=0) - image[0].mean(axis=0)).sum() > 12, example["caption"]


def test_classes_are_balanced_and_captions_agree(examples):
    classes = Studio.classes
    assert len(classes) >= 8
    assert np.bincount([example["label"] for example in examples]).tolist() == [120 // len(classes)] * len(classes)
    for example in examples:
        name = classes[example["label"]]
        caption = example["caption"].replace(" on a ", ", ").removesuffix(" background")
        product, _, backdrop = caption.partition(", ")
        assert product.endswith(name) and backdrop in {"", *BACKGROUNDS}
        described = product.removesuffix(name).removeprefix("an ").removeprefix("a ").removeprefix("pair of ").strip()
        assert any(described.startswith(colour) for colour in COLOURS), example["caption"]


def test_captions_are_those_of_the_examples_in_several_forms_and_need_no_drawing(examples):
    captions = list(Studio(count=120, seed=3).captions())
    assert captions == [example["caption"] for example in examples]
    forms = [(caption.startswith("a"), " on a " in caption, ", " in caption) for caption in captions]
    assert len(set(forms)) >= 3


def test_caption_names_the_colour_that_is_seen():
    studio = Studio(seed=6)
    mugs = [studio.example(index, 32) for index in range(studio.classes.index("mug"), 1500, len(studio.classes))]
    for name in ("red", "green", "blue"):
        seen = [
            mug["image"][mug["mask"][..., 0] == 255].mean(axis=0) for mug in mugs if f"a {name} mug" in mug["caption"]
        ]
        assert seen and all(colour.argmax() == ("red", "green", "blue").index(name) for colour in seen)


def test_every_print_of_every_kind_is_drawn():
    studio = Studio(seed=7)
    captions = [studio.example(index, 16)["caption"] for index in range(1200)]
    for kind, name in zip(KINDS.values(), studio.classes, strict=True):
        for printed in kind.prints:
            assert any(f"{printed} {name}" in caption for caption in captions), (name, printed)


def test_fingerprint_tells_what_would_be_yielded():
    assert Studio(10, 0).fingerprint() == Studio(10, 0).fingerprint()
    assert len({Studio(10, 0).fingerprint(), Studio(10, 1).fingerprint(), Studio(11, 0).fingerprint()}) == 3


def test_needs_no_tensorflow():
    code = "import sys; from data.sources.studio import Studio; Studio().example(0, 32)"
    code += "; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
