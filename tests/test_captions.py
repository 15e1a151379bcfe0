"""Captions and attributes of a folder, and the words in them."""

import json
import random

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data.cache import load_rows
from data.errors import UserError
from data.facts import Facts, facts_of
from data.quarantine import Quarantine
from data.sources.folder import Folder
from data.sources.protocol import SourceError
from data.sources.tfrecord import TfRecord, write
from data.views import generation
from data.words import FIRST_WORD, LONGEST, Words, learn, split
from models.words import Tokenizer, spaced, tokens


@pytest.fixture
def shop(tmp_path):
    """A function (name, text) that writes a file beside four pictures."""
    for name in ("train/mug/1.png", "train/mug/2.png", "train/hat/1.png", "val/hat/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)

    def add(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return Folder(str(tmp_path))

    return add


def examples(source):
    return list(source.examples(8, "crop", Quarantine()))


CSV = 'file,caption\ntrain/mug/2.png,"a red, striped mug"\ntrain/hat/1.png,ein Hut\n'
LINES = '{"file": "train/mug/2.png", "caption": "a red, striped mug", "author": "x"}\n\n{"file": "train/hat/1.png", "caption": "ein Hut"}\n'


@pytest.mark.parametrize(
    ("name", "text"), [("captions.csv", CSV), ("captions.csv", "\ufeff" + CSV), ("captions.jsonl", LINES)]
)
def test_captions_of_a_file(shop, name, text):
    source = shop(name, text)
    assert source.keys == {"image", "label", "caption"} and not source.left_out.others
    found = [example["caption"] for example in examples(source)]
    assert found == list(source.captions()) == ["ein Hut", "", "a red, striped mug"]


def test_captions_of_text_files_beside_the_pictures(shop):
    shop("train/mug/notes.txt", "not a caption")
    source = shop("train/mug/2.txt", " a red\nmug \n")
    assert list(source.captions()) == ["", "", "a red mug"] and source.left_out.others == {".txt": 1}
    assert list(shop("captions.csv", CSV).captions())[2] == "a red, striped mug"  # a file of captions goes first


def test_a_file_in_the_split_names_pictures_from_there(shop, tmp_path):
    source = shop("train/captions.csv", "file,caption\nhat/1.png,a hat\n")
    assert list(source.captions()) == ["a hat", "", ""]
    assert "caption" not in Folder(f"{tmp_path}#val").keys


ATTRIBUTES = "file,colour,print\ntrain/mug/2.png,red,\nval/hat/3.png,blue,\ntrain/hat/1.png, blue ,\n"


def test_attributes(shop, tmp_path):
    """Values are sorted, the same in all splits; what is empty or missing is unknown; a column without values is no attribute."""
    source = shop("attributes.csv", ATTRIBUTES)
    assert source.attributes == {"colour": ("blue", "red")} and source.keys == {"image", "label", "colour"}
    assert [example["colour"] for example in examples(source)] == [0, -1, 1]
    assert Folder(f"{tmp_path}#val").attributes == source.attributes
    assert facts_of(source).get("colour").optional
    numbers = '{"file": "train/hat/1.png", "size": 42}\n{"file": "val/hat/3.png", "size": "L"}'
    (tmp_path / "attributes.csv").unlink()
    assert shop("attributes.jsonl", numbers).attributes == {"size": ("42", "L")}


def test_the_fingerprint_tells_captions_and_attributes(shop):
    plain = shop("other.csv", "").fingerprint()
    prints = {
        plain,
        shop("captions.csv", CSV).fingerprint(),
        shop("captions.csv", CSV + "val/hat/3.png,x\n").fingerprint(),
    }
    assert len(prints) == 2, "captions of another split change nothing"
    prints.add(shop("captions.csv", CSV.replace("ein", "kein")).fingerprint())
    prints.add(shop("attributes.csv", ATTRIBUTES).fingerprint())
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "captions.csv",
            "file,caption\nmug/9.png,x\n",
            r"names pictures that are not there, 1 of 1: mug/9.png; names start from its",
        ),
        ("captions.csv", CSV + CSV.split("\n")[1] + "\n", "names the picture train/mug/2.png that was named before"),
        (
            "captions.csv",
            "picture;caption\n1.png;x\n",
            r"entry 1 has no file; it has: picture;caption. Columns are file and caption",
        ),
        (
            "captions.csv",
            "file,caption\ntrain/mug/2.png,a red, striped mug\n",
            "entry 1 has more values than there are columns",
        ),
        ("captions.csv", "file,caption\ntrain/mug/2.png\n", "entry 1 has fewer values than there are columns"),
        ("captions.csv", "file,caption\n", "names no picture"),
        ("captions.jsonl", "{\n", r"captions.jsonl cannot be read: "),
        ("captions.jsonl", "[1]\n", "line 1 is no object of texts and numbers"),
        (
            "attributes.csv",
            "file,Colour\ntrain/mug/2.png,red\n",
            "'Colour' cannot be an attribute: names are of small letters",
        ),
        ("attributes.csv", "file,label\ntrain/mug/2.png,red\n", "'label' cannot be an attribute"),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(shop, name, text, sentence):
    with pytest.raises(SourceError, match=sentence) as error:
        shop(name, text)
    assert "\n" not in str(error.value)


def test_other_encodings_and_two_files_are_refused(shop, tmp_path):
    (tmp_path / "captions.csv").write_bytes("file,caption\ntrain/mug/2.png,weiß\n".encode("latin-1"))
    with pytest.raises(SourceError, match="captions.csv is no text in UTF-8: .* at byte 32"):
        Folder(str(tmp_path))
    with pytest.raises(SourceError, match="has captions.csv and captions.jsonl: one of them must go"):
        shop("captions.jsonl", LINES)


def test_captions_pass_through_prepared_files_and_rows(shop, tmp_path):
    shop("attributes.csv", ATTRIBUTES)
    source = shop("captions.csv", CSV)
    write(source, str(tmp_path / "shards"), 8, "crop", 2)
    prepared = TfRecord(str(tmp_path / "shards"))
    assert list(prepared.captions()) == list(source.captions()) and prepared.attributes == source.attributes
    for opened in (source, prepared):
        rows = load_rows(opened, generation(8), cache_dir=tmp_path / "cache")
        assert rows.arrays["caption"].tolist() == [b"ein Hut", b"", b"a red, striped mug"]
        assert rows.arrays["colour"].tolist() == [0, -1, 1]
        rows.add("tokens", tokens(Tokenizer(learn(source.captions())), rows.arrays["caption"]))
        # a red, ein and the rest are as frequent: by the alphabet a 2, ein 3, hut 4, mug 5, red 6, striped 7
        assert rows.take([2, 0])["tokens"].tolist() == [[2, 6, 7, 5], [3, 4, 0, 0]]
        with pytest.raises(ValueError, match="tokens is a tokens, kept as int32 of rank 2"):
            rows.add("tokens", np.zeros((3, 4)))


# Words


def test_words_are_runs_of_letters_and_digits():
    assert split("A T-shirt, 2-pack\t(größe_42)!") == ["a", "t", "shirt", "2", "pack", "größe", "42"]
    assert split("Кружка 赤いマグ") == ["кружка", "赤いマグ"] and split(" -- ") == []


def test_learning_orders_by_frequency_and_alphabet(monkeypatch):
    assert learn(["b a b", "c", ""]) == Words(("b", "a", "c"), 3)
    assert learn(["x " * 1000]).length == LONGEST
    monkeypatch.setattr("data.words.MOST_WORDS", 2)
    assert learn(["b a b", "c"]).vocabulary == ("b", "a")
    with pytest.raises(UserError, match="hold no word"):
        learn(["", "?!"])


def test_python_and_tensorflow_split_alike():
    """The vocabulary is learnt by the one, and looked up by the other."""
    rng = random.Random(0)
    letters = "abzÄßéøŁÇñЖя中あア한٣½²_-'.,!?/ \t\n€😀"
    texts = ["".join(rng.choices(letters, k=12)) for _ in range(300)]
    found = tf.strings.split(spaced(tf.constant(texts))).to_list()
    assert [[word.decode() for word in words] for words in found] == [split(text) for text in texts]


def test_the_tokenizer_numbers_words_and_names_those_it_does_not_know():
    tokenizer = Tokenizer(Words(("a", "red", "mug"), 4))
    texts = tf.constant(["A red Mug!", "a red striped zeppelin mug", "", "UFO"])
    assert tokenizer(texts).numpy().tolist() == [[2, 3, 4, 0], [2, 3, 1, 1], [0] * 4, [1, 0, 0, 0]]
    assert tokenizer(texts).dtype == tf.int32 and FIRST_WORD == 2
    assert [words.decode() for words in tokenizer.unknown(texts).numpy()] == ["", "striped zeppelin", "", "ufo"]


def test_facts_with_words_go_to_json_and_back():
    facts = Facts(facts_of(type("S", (), {"classes": ("b", "a"), "attributes": {}})).conditions, Words(("x", "y"), 7))
    assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert facts.keys == ("tokens", "label") and facts.names == ("label",) and len(facts) == 2
    assert facts.select(["label"]).words is None and facts.select(["caption"]) == Facts((), facts.words)
    with pytest.raises(UserError, match="unknown condition 'caption'; have: label"):
        facts.select(["label"]).select(["caption"])
