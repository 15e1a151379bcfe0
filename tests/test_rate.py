"""`packshot rate`: fair questions, pictures of the right model and category, and answers that are read with care."""

import base64
import io
import json
import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from toy_models import enhancer, generator, translator

from data.images import save_png
from serving.export.export import export
from trainer.cli import main
from trainer.rating import systems
from trainer.rating.questions import plan
from trainer.runs.names import short_names

SIZE = 8
CLASSES = {"northern": ["hats", "shoes"], "southern": ["shoes", "hats"]}  # the same, in another order


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Exports: `northern` and `southern` know categories, `plain` does not, `bright` and `dark` change photos, `double` enlarges them.

    Red tells the model, green the category, blue is noise of the seed.
    """
    to = tmp_path_factory.mktemp("made")

    def painter(red, greens):
        def generate(z, label=None):
            green = tf.gather(tf.constant(greens), label if greens[1:] else tf.zeros_like(z[:, 0], tf.int32))
            colour = tf.stack([tf.fill(tf.shape(green), red), green, tf.tanh(z[:, 0])], axis=1)
            return tf.tile(colour[:, None, None], [1, SIZE, SIZE, 1])

        return generate

    def save(name, model, **metadata):
        export(model, to, name, metadata=metadata)

    for name, red, greens in (("northern", -1.0, [-1.0, 1.0]), ("southern", 1.0, [1.0, -1.0])):
        told = [("label", tuple(CLASSES[name]))]
        model = generator(painter(red, greens), latent_size=4, resolution=SIZE, conditions=told)
        save(name, model, task="generation", classes=CLASSES[name])
    save("plain", generator(painter(0.0, [0.0]), latent_size=4, resolution=SIZE), task="generation")
    settings = {"view": "pair", "fit": "crop"}
    for name, change in (("bright", lambda x: x / 2 + 0.5), ("dark", lambda x: x / 2 - 0.5)):
        save(name, translator(change, SIZE), task="translation", configuration=settings)
    double = enhancer(lambda x: tf.repeat(tf.repeat(x, 2, 1), 2, 2))
    save("double", double, task="enhancement", configuration={"settings": {"scale": 2}})
    return to


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve grey photos of hats and as many of shoes, 16 px: folder:`photos`."""
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(["hats", "shoes"]):
        for i in range(12):
            save_png(str(folder / name / f"{i}.png"), np.full((16, 16, 3), 128 + 40 * number + i, np.uint8))
    return folder


def _run(*words):
    return CliRunner().invoke(main, ["rate", *map(str, words)])


def _page(out, *words):
    """(what the page shows: pictures uint8 and questions; its key; its text) of `packshot rate page`."""
    done = _run("page", *words, "--out", out)
    assert done.exit_code == 0, done.output
    html = out.read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])
    content = [base64.b64decode(picture.removeprefix("data:image/png;base64,")) for picture in data["pictures"]]
    pictures = [np.array(Image.open(io.BytesIO(png))) for png in content]
    return pictures, data["questions"], json.loads(out.with_suffix(".key.json").read_text()), html


@pytest.mark.parametrize(
    "count_of_systems, count, topics", [(2, 60, 10), (3, 61, 1), (4, 20, 4), (5, 7, 3), (6, 60, 10)]
)
def test_questions_are_fair(count_of_systems, count, topics):
    questions = plan(count_of_systems, count, 0, topics, seed=3)
    pairs = list(combinations(range(count_of_systems), 2))
    met = Counter(tuple(sorted((q.left.system, q.right.system))) for q in questions)
    about = Counter((tuple(sorted((q.left.system, q.right.system))), q.topic) for q in questions)
    turned = Counter((q.left.system, q.right.system) for q in questions)
    left, right = (Counter(q[side].system for q in questions) for side in (0, 1))

    def uneven(counts):
        return max(counts) - min(counts)

    assert len(questions) == count and uneven([met[pair] for pair in pairs]) <= 1
    assert all(uneven([about[pair, topic] for topic in range(topics)]) <= 1 for pair in pairs)
    assert all(abs(turned[a, b] - turned[b, a]) <= 1 for a, b in pairs)
    assert uneven([left[i] + right[i] for i in range(count_of_systems)]) <= 2
    assert max(abs(left[i] - right[i]) for i in range(count_of_systems)) <= 3
    assert len({(side, q.topic) for q in questions for side in q[:2]}) == 2 * count, "a picture is shown twice"


def test_a_topic_is_shown_either_way_round():
    turned = Counter((q.topic, q.left.system) for q in plan(2, 40, 0, 10, seed=0))
    assert set(turned.values()) == {2} and len(turned) == 20


def test_repeats_come_later_with_sides_swapped():
    questions = plan(3, 60, 6, 10, seed=1)
    again = [(place, q) for place, q in enumerate(questions) if q.repeats is not None]
    assert len(questions) == 66 and len(again) == 6 == len({q.repeats for _, q in again})
    for place, q in again:
        first = questions[q.repeats]
        assert (first.left, first.right, first.topic, None) == (q.right, q.left, q.topic, first.repeats)
        assert place - q.repeats >= 10
    assert questions == plan(3, 60, 6, 10, seed=1) != plan(3, 60, 6, 10, seed=2)


def test_models_are_called_by_as_much_as_tells_them_apart():
    assert short_names(["runs/a", "runs/b/"]) == ["a", "b"]
    assert short_names(["m/r3gan/1", "m/r3gan/2"]) == ["r3gan/1", "r3gan/2"]
    assert short_names(["gs://x/a/r3gan", "y/b/r3gan"]) == ["a/r3gan", "b/r3gan"]
    with pytest.raises(ValueError, match="not with itself"):
        short_names(["runs/a", "runs/../runs/a"])


def test_each_side_shows_its_model_and_both_the_category_that_is_named(made, photos, tmp_path):
    words = [made / "northern", made / "southern", "--data", f"folder:{photos}", "--n", 18, "--repeats", 2]
    pictures, questions, key, html = _page(tmp_path / "p.html", *words)
    assert len(questions) == len(key["questions"]) == 20
    for shown, told in zip(questions, key["questions"], strict=True):
        assert shown["subject"] == told["subject"] in CLASSES["northern"]
        for side in ("left", "right"):
            red, green, _ = pictures[shown[side]][0, 0]
            if told[side] == systems.REAL:
                assert green // 40 == (3 if told["subject"] == "hats" else 4)
            else:
                assert red == {"northern": 0, "southern": 255}[told[side]]
                assert green == {"hats": 0, "shoes": 255}[told["subject"]]
    assert key["models"] == {
        "northern": f"{made}/northern/1",
        "southern": f"{made}/southern/1",
        systems.REAL: f"folder:{photos}",
    }
    assert not any(name in html for name in ("northern", "southern", systems.REAL, str(made), str(photos)))
    again = _page(tmp_path / "again.html", *words)
    assert again[3] == html, "the same command makes the same page"
    assert _page(tmp_path / "other.html", *words, "--seed", 1)[2]["page"] != key["page"]


def test_translations_stand_beside_what_they_were_made_from(made, photos, tmp_path):
    pictures, questions, key, _ = _page(
        tmp_path / "p.html", made / "bright", made / "dark", "--photos", photos, "--n", 9
    )
    change = {"bright": lambda x: x / 2 + 127.5, "dark": lambda x: x / 2}
    assert len({shown["source"] for shown in questions}) == 9
    for shown, told in zip(questions, key["questions"], strict=True):
        for side in ("left", "right"):
            expected = change[told[side]](pictures[shown["source"]].astype(float))
            assert np.abs(pictures[shown[side]] - expected).max() <= 1


def test_enlarged_pictures_meet_the_real_ones(made, photos, tmp_path):
    pictures, questions, key, _ = _page(tmp_path / "p.html", made / "double", "--data", f"folder:{photos}", "--n", 4)
    for shown, told in zip(questions, key["questions"], strict=True):
        assert {told["left"], told["right"]} == {"double", systems.REAL}
        assert pictures[shown["source"]].shape == (128, 128, 3)
        np.testing.assert_array_equal(pictures[shown["left"]], pictures[shown["right"]])  # photos of one grey each


@pytest.mark.parametrize(
    "words, what",
    [
        (["{made}/northern"], "needs two models"),
        (["{made}/northern", "{made}/northern"], "not with itself"),
        (["{made}/northern", "{made}/plain"], "northern is conditional and plain is not"),
        (["{made}/northern", "{made}/bright"], "compare models of one task"),
        (["{made}/bright", "{made}/double", "--photos", "{photos}"], "different tasks: bright translation, double enh"),
        (["{made}/bright", "{made}/dark"], "--data or by --photos"),
        (["{made}/northern", "{made}/southern", "--photos", "{photos}"], "these make theirs from noise"),
        (["{made}/northern", "{made}/southern", "--data", "folder:{photos}", "--n", "200"], "use a smaller --n"),
        (["{made}/northern", "{made}/southern", "--data", "studio:8"], "no pictures of hats, shoes"),
        (["{made}/bright", "{made}/dark", "--photos", "{photos}", "--n", "25"], "24 usable photos"),
        (["{made}/northern", "{made}/southern", "--n", "9", "--repeats", "4"], "more than a third"),
        (["{made}/northern", "{made}/nowhere"], "no exported model in"),
    ],
)
def test_what_cannot_be_compared_is_said(made, photos, tmp_path, words, what):
    done = _run("page", *(word.format(made=made, photos=photos) for word in words), "--out", tmp_path / "p.html")
    assert done.exit_code == 2 and what in done.output and "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_the_key_of_another_page_is_not_written_over(made, tmp_path):
    out = tmp_path / "p.html"
    _page(out, made / "northern", made / "southern", "--n", 4, "--repeats", 0)
    before = out.with_suffix(".key.json").read_bytes()
    done = _run("page", made / "northern", made / "southern", "--n", 4, "--repeats", 0, "--seed", 9, "--out", out)
    assert done.exit_code == 2 and "not the key of this page" in done.output
    assert out.with_suffix(".key.json").read_bytes() == before


def _key(tmp_path, questions):
    rows = [dict(zip(("left", "right", "subject", "repeats"), row, strict=True)) for row in questions]
    key = {
        "schema": 1,
        "kind": "packshot rating key",
        "page": "p",
        "text": "?",
        "models": {"a": "x", "b": "y"},
        "questions": rows,
    }
    (tmp_path / "key.json").write_text(json.dumps(key))
    return tmp_path / "key.json"


QUESTIONS = [("a", "b", "", None), ("b", "a", "", None), ("a", "b", "", None), ("b", "a", "", 0), ("a", "b", "", 1)]
SHEET = {"schema": 1, "kind": "packshot rating answers", "page": "p", "session": "s", "rater": "Ann"}
SHEET |= {"saved": "2026-11-21T10:00:00.000Z", "answers": ["left", "tie", "left", "right", "left"]}


def _answers(tmp_path, name, **changes):
    (tmp_path / name).write_text(json.dumps(SHEET | changes))
    return tmp_path / name


def test_answers_are_summed_by_hand(tmp_path):
    """Ann: a, tie, a; the first repeat alike, the second (a tie) not. Ben: b, b, nothing; the first repeat opposite."""
    key = _key(tmp_path, QUESTIONS)
    files = [
        _answers(tmp_path, "ann.json"),
        _answers(tmp_path, "ben.json", rater="", session="t", answers=["right", "left", None, "right", None]),
    ]
    done = _run("score", key, *files, "--out", tmp_path / "ratings.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "ratings.json").read_text())
    a, b = found["models"]["a"], found["models"]["b"]
    assert (a["wins"], a["ties"], a["losses"]) == (2, 1, 2) == (b["losses"], b["ties"], b["wins"])
    assert a["score"] == pytest.approx(0.5) and a["low"] < 0.5 < a["high"]
    assert (found["schema"], found["page"], found["raters"], found["answers"], found["questions"]) == (1, "p", 2, 5, 3)
    assert found["consistency"] == {"repeated": 3, "same": 1, "opposite": 1}
    assert found["people"][0] == {"rater": "Ann", "answers": 3, "repeated": 2, "same": 1, "opposite": 0}
    assert (found["left"], found["right"]) == (4, 3)
    assert "\na  50.0%" in done.output and "nameless: 2 answers" in done.output
    assert "fewer than 5 raters" in done.output


@pytest.mark.parametrize("who", [{"session": "t", "rater": " ann"}, {"rater": "", "session": "s"}])
def test_of_one_rater_the_newest_file_counts(tmp_path, who):
    key = _key(tmp_path, QUESTIONS)
    old = _answers(tmp_path, "old.json", saved="2026-11-21T09:59:00+00:00", answers=["right"] * 5, **who)
    done = _run("score", key, _answers(tmp_path, "new.json"), old, "--out", tmp_path / "ratings.json")
    assert done.exit_code == 0 and "old.json: left out" in done.output
    found = json.loads((tmp_path / "ratings.json").read_text())
    assert found["raters"] == 1 and found["models"]["a"]["wins"] == 2


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"page": "q"}, "answers to another page (q)"),
        ({"schema": 2}, "schema 2; this program reads 1"),
        ({"kind": "packshot rating key"}, "not a packshot rating answers, but a packshot rating key"),
        ({"answers": ["left"]}, "1 answers to 5 questions"),
        ({"answers": ["left", "up", None, None, None]}, "'up' is no answer"),
        ({"answers": [["left"], None, None, None, None]}, "is no answer"),
        ({"saved": "yesterday"}, "not a complete file of answers"),
        ({"saved": "2026-11-21T10:00:00"}, "has no zone"),
        ({"rater": None}, "not a complete file of answers"),
        ({"answers": [None] * 5}, "nobody has answered"),
    ],
)
def test_damaged_answers_are_refused(tmp_path, changes, what):
    done = _run(
        "score", _key(tmp_path, QUESTIONS), _answers(tmp_path, "x.json", **changes), "--out", tmp_path / "ratings.json"
    )
    assert done.exit_code == 2 and what in done.output, done.output
    assert not (tmp_path / "ratings.json").exists()


@pytest.mark.parametrize("content", ["", "[1]", "{", "\xff", '{"kind": "packshot rating key", "schema": 1}'])
def test_a_damaged_key_is_refused(tmp_path, content):
    (tmp_path / "key.json").write_bytes(content.encode("latin-1"))
    done = _run("score", tmp_path / "key.json", _answers(tmp_path, "ann.json"))
    assert done.exit_code == 2 and "key.json: not" in done.output
    lost = _run("score", tmp_path / "nokey.json", _answers(tmp_path, "ann.json"))
    assert lost.exit_code == 2 and "nokey.json" in lost.output


@pytest.mark.parametrize("row", [("a", "c", "", None), ("a", "a", "", None), ("a", "b", "", 5), ("a", "b", "", "0")])
def test_a_key_that_contradicts_itself_is_refused(tmp_path, row):
    done = _run("score", _key(tmp_path, [*QUESTIONS, row]), _answers(tmp_path, "ann.json"))
    assert done.exit_code == 2 and "question 6" in done.output
