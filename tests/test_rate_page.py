"""The page that asks, in a real browser: clicks, keys, a reload in the middle, and the file that is saved."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from data.files import write
from trainer.cli import main
from trainer.rating.page import Content, build
from trainer.rating.questions import plan

NAMES = ["secret-alpha", "secret-beta", "secret-gamma"]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=BROWSER)
        yield started
        started.close()


@pytest.fixture
def asked(tmp_path):
    """(the page's path, its key): 12 questions about three systems in two categories, 3 of them repeated."""
    questions = plan(3, 12, 3, 2, seed=4)
    rng = np.random.default_rng(0)
    pictures = {
        (side, q.topic): rng.integers(256, size=(8, 8, 3)).astype(np.uint8) for q in questions for side in q[:2]
    }
    gallery = Content(["<b>hats", "shoes"], pictures, None)
    html, key = build(questions, gallery, NAMES, NAMES, "Which </script> is better?")
    write(str(tmp_path / "rate.html"), html.encode())
    write(str(tmp_path / "rate.key.json"), json.dumps(key).encode())
    return tmp_path / "rate.html", key


@pytest.fixture
def page(browser, asked):
    """The page, opened; `page.requests` are the addresses it asked for, `page.faults` what its script threw or wrote to the console."""
    context = browser.new_context(viewport={"width": 900, "height": 600})
    opened = context.new_page()
    opened.requests, opened.faults = [], []
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda message: opened.faults.append(message.text))
    opened.goto(asked[0].as_uri())
    yield opened
    context.close()


def _wanted(question, best="secret-alpha"):
    """What a rater says who always finds one model the better one, and cannot tell the others apart."""
    return next((side for side in ("left", "right") if question[side] == best), "tie")


def _save(page, button, folder):
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_rater_answers_by_clicks_and_keys_and_goes_on_after_a_reload(page, asked, tmp_path):
    key = asked[1]
    buttons = {"left": "Picture A", "right": "Picture B", "tie": "Cannot tell"}
    keys = {"left": "ArrowLeft", "right": "ArrowRight", "tie": "Space"}
    page.get_by_label("Your name").fill("Zoë O'Hara")
    page.keyboard.press("Enter")
    for number, question in enumerate(key["questions"]):
        assert page.inner_text("#count") == f"{number + 1} of 15"
        assert page.inner_text("#subject") == question["subject"]
        assert page.evaluate("document.activeElement.tagName") == "H1"
        if number == 7:
            page.keyboard.press("ArrowUp")  # means nothing
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("Backspace")
            assert page.get_by_role("button", name="Picture A").get_attribute("aria-pressed") == "true"
            page.reload()
            assert page.inner_text("#count") == "8 of 15"
        choice = _wanted(question)
        if number % 2:
            page.get_by_role("button", name=buttons[choice]).click()
        else:
            page.keyboard.press(keys[choice])
    assert page.inner_text("#summary") == "You have answered 15 of 15 questions."

    path = _save(page, "Save answers", tmp_path)
    assert path.name == "answers-zoë-o-hara.json"
    saved = json.loads(path.read_text())
    assert saved["answers"] == [_wanted(question) for question in key["questions"]]
    assert (saved["rater"], saved["page"]) == ("Zoë O'Hara", key["page"])

    done = CliRunner().invoke(
        main, ["rate", "score", str(asked[0].with_suffix(".key.json")), str(path), "--out", str(tmp_path / "r.json")]
    )
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "r.json").read_text())
    alpha, beta, gamma = (found["models"][name] for name in NAMES)
    assert (alpha["wins"], alpha["ties"], alpha["losses"]) == (8, 0, 0)
    assert (beta["wins"], beta["ties"], beta["losses"]) == (0, 4, 4) == (gamma["wins"], gamma["ties"], gamma["losses"])
    assert alpha["low"] > 0.5 > beta["score"] and beta["score"] == pytest.approx(gamma["score"])
    assert found["consistency"] == {"repeated": 3, "same": 3, "opposite": 0}
    assert page.faults == []


def test_nothing_is_told_and_nothing_leaves(page, asked):
    source = asked[0].read_text()
    assert not any(word in source for word in (*NAMES, "secret", "alpha"))
    assert page.inner_text("h1") == "Which </script> is better?"
    page.get_by_role("button", name="Start").click()
    assert page.locator("#left img").evaluate("image => image.naturalWidth") == 8
    assert page.locator("#left img").evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert {address.split(":")[0] for address in page.requests} <= {"file", "data"}
    assert [address for address in page.requests if address.startswith("file")] == [asked[0].as_uri()]
    refused = """() => new Promise(done => {
        addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
        new Image().src = "http://localhost:9/x.png";
    })"""
    assert page.evaluate(refused) == "img-src"


def test_a_double_click_answers_one_question_and_space_means_the_button_in_focus(page):
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Picture A").dblclick()
    assert page.inner_text("#count") == "2 of 15"
    page.get_by_role("button", name="Back", exact=True).focus()
    page.keyboard.press("Space")
    assert page.inner_text("#count") == "1 of 15"


def test_the_next_person_begins_anew_and_what_is_not_saved_is_asked_about(page, asked, tmp_path):
    page.get_by_role("button", name="Start").click()
    first = json.loads(_save(page, "Save answers", tmp_path).read_text())
    assert first["answers"] == [None] * 15 and first["rater"] == ""
    for _ in range(15):
        page.keyboard.press("Space")
    questions = []
    page.on("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Start again for the next person").click()
    assert len(questions) == 1 and page.is_visible("#ending")
    _save(page, "Save answers", tmp_path)
    page.get_by_role("button", name="Start again for the next person").click()
    assert len(questions) == 1 and page.is_visible("#starting")
    page.get_by_role("button", name="Start").click()
    second = json.loads(_save(page, "Save answers", tmp_path).read_text())
    assert second["answers"] == [None] * 15 and second["session"] != first["session"]


@pytest.mark.parametrize("width, height", [(360, 640), (640, 360), (1400, 900)])
def test_everything_fits_on_the_screen(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    page.get_by_role("button", name="Start").click()
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
        width,
        height,
    ]
    boxes = [page.locator(f"#{side} img").bounding_box() for side in ("left", "right")]
    assert boxes[0]["width"] == pytest.approx(boxes[1]["width"], abs=0.1)
    assert boxes[0]["height"] == pytest.approx(boxes[1]["height"], abs=0.1)
    assert min(boxes[0]["width"], boxes[0]["height"]) > 0.35 * min(width, height)


def test_answers_are_copied_or_else_shown_to_be_copied_by_hand(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Start").click()
    for _ in range(15):
        page.keyboard.press("ArrowLeft")
    copy = page.get_by_role("button", name="Copy to clipboard")
    copy.click()
    page.get_by_text("Copied").wait_for()
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["answers"] == ["left"] * 15
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject())")
    copy.click()
    by_hand = page.get_by_label("Your answers, to copy by hand")
    by_hand.wait_for()
    assert json.loads(by_hand.input_value())["answers"] == ["left"] * 15
