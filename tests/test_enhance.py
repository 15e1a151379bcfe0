"""`packshot enhance` on the command line: what becomes of photos of every kind, what is done again, and what is never touched."""

import io
import os
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image, ImageCms
from toy_models import enhancer, translator

from data import edits, files, outputs
from data.images import BadPicture, decode
from data.photo_files import read
from serving.export import offline
from serving.export.export import export
from trainer.cli import main
from trainer.enhancing import line, watch

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Exports: `negative`; `twice`, which repeats pixels; `smooth`, a mean of 5 x 5; `half` as large; `fixed`, of one size."""
    to = str(tmp_path_factory.mktemp("toys"))

    def smooth(x):
        return tf.nn.depthwise_conv2d(x, tf.ones([5, 5, 3, 1]) / 25, [1, 1, 1, 1], "SAME")

    export(enhancer(lambda x: -x), to, "negative", metadata={})
    export(enhancer(lambda x: tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)), to, "twice", metadata={})
    export(enhancer(smooth), to, "smooth", metadata={})
    export(enhancer(lambda x: x[:, ::2, ::2]), to, "half", metadata={})
    export(translator(lambda x: -x, 16), to, "fixed", metadata={})
    return to


@pytest.fixture
def enhance(toys, tmp_path, monkeypatch):
    """`packshot enhance`, in a folder of its own; a `model` is one of the toys."""
    monkeypatch.chdir(tmp_path)

    def run(photos, *words, model=None, out="o", stdin=None):
        chosen = ["--model", f"{toys}/{model}/1"] if model else []
        words = ["enhance", photos, *chosen, "--out", out, *words]
        return CliRunner().invoke(main, list(map(str, words)), input=stdin)

    return run


def noise(height=12, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def saved(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(content) if isinstance(content, np.ndarray) else content)
    return path


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(done, sentence):
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), done.output
    assert sentence in done.output.replace("\n", " "), done.output
    return True


def made(path):
    return decode((path).read_bytes())


def test_a_folder_is_enhanced_in_the_formats_of_its_photos(enhance, tmp_path):
    kinds = {"a.JPG": "JPEG", "b/c.png": "PNG", "b/d.webp": "WEBP", "e.avif": "AVIF", "f.gif": "GIF", "g.tif": "TIFF"}
    for name, kind in kinds.items():
        put(tmp_path / "p" / name, saved(noise(), kind))
    before = contents(tmp_path / "p")
    done = enhance("p", model="twice")
    assert done.exit_code == 0 and done.output.endswith("6 of 6 pictures: o\n"), done.output
    assert contents(tmp_path / "p") == before
    results = contents(tmp_path / "o")
    assert sorted(results) == ["a.JPG", "b/c.png", "b/d.webp", "e.avif", "f.png", "g.png"]
    for name, content in results.items():
        image = Image.open(io.BytesIO(content))
        assert image.size == (32, 24) and image.format == kinds.get(name, "PNG")
    np.testing.assert_array_equal(made(tmp_path / "o/b/c.png"), noise().repeat(2, 0).repeat(2, 1))


def test_edits_come_before_and_behind_the_model_and_do_without_one(enhance, tmp_path):
    put(tmp_path / "a.png", noise())
    assert enhance("a.png", "--edits", "exposure:1", "--after", "square:20", model="negative").exit_code == 0
    np.testing.assert_array_equal(made(tmp_path / "o/a.png"), edits.square(255 - edits.exposure(noise(), 1), 20))
    assert enhance("a.png", "--edits", "exposure:1", "--after", "square:20", out="without").exit_code == 0
    np.testing.assert_array_equal(made(tmp_path / "without/a.png"), edits.square(edits.exposure(noise(), 1), 20))


def test_repeated_it_goes_on_where_it_stopped(enhance, tmp_path):
    put(tmp_path / "p/a.png", noise()), put(tmp_path / "p/b.webp", saved(noise(), "WEBP"))
    put(tmp_path / "p/c.avif", saved(noise(), "AVIF")), put(tmp_path / "p/d.jpg", saved(noise(), "JPEG"))
    assert enhance("p", model="negative").output.endswith("4 of 4 pictures: o\n")
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").iterdir()}
    done = enhance("p", model="negative")
    assert done.output.endswith("4 of 4 pictures: o (4 were up to date)\n"), done.output
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "o").iterdir()} == first
    later = time.time_ns() + 10**9
    os.utime(tmp_path / "p/a.png", ns=(later, later))
    (tmp_path / "o/d.jpg").unlink()
    assert enhance("p", model="negative").output.endswith("(2 were up to date)\n")


@pytest.mark.parametrize(
    "words", [("--edits", "median"), ("--after", "median"), ("--quality", "50"), ("--keep", "m.png")]
)
def test_with_other_settings_all_is_made_anew(enhance, tmp_path, words):
    put(tmp_path / "p/a.png", noise()), put(tmp_path / "m.png", noise())
    assert enhance("p", model="negative").exit_code == 0
    for _ in range(2):
        done = enhance("p", *words, model="negative")
        assert done.exit_code == 0, done.output
    assert done.output.endswith("(1 were up to date)\n")
    assert enhance("p", *words, model="smooth").output.endswith("1 of 1 pictures: o\n")


def test_photos_and_results_may_be_remote(enhance):
    files.write("ram://packshot-enhance/p/a.webp", saved(noise(), "WEBP"))
    for said in ("", " (1 were up to date)"):
        done = enhance("ram://packshot-enhance/p", "--edits", "exposure:1", out="ram://packshot-enhance/o")
        assert done.output.endswith(f"1 of 1 pictures: ram://packshot-enhance/o{said}\n"), done.output
    assert decode(files.read("ram://packshot-enhance/o/a.webp")).shape == (12, 16, 3)


def test_a_newer_mask_makes_a_photo_anew(enhance, tmp_path):
    put(tmp_path / "p/a.png", noise()), put(tmp_path / "m.png", noise())
    assert enhance("p", "--keep", "m.png", model="negative").exit_code == 0
    later = time.time_ns() + 10**9
    os.utime(tmp_path / "m.png", ns=(later, later))
    assert enhance("p", "--keep", "m.png", model="negative").output.endswith("1 of 1 pictures: o\n")


def test_no_photo_and_no_strange_file_is_written_over(enhance, tmp_path):
    put(tmp_path / "p/a.png", noise()), put(tmp_path / "o/a.png", noise(seed=1))
    before = contents(tmp_path)
    assert refused(enhance("p", model="negative", out="p"), "is read here and would be written over")
    assert refused(enhance("p", model="negative"), "o/a.png is there and was not made by `packshot enhance`")
    assert refused(enhance("p", "--sheet", "p/a.png", model="negative", out="n"), "is read here")
    assert contents(tmp_path) == before


def test_results_beside_their_photos_are_no_photos(enhance, tmp_path):
    put(tmp_path / "p/a.jpg", saved(noise(), "JPEG"))
    for _ in range(2):
        done = enhance("p", "--format", "webp", model="negative", out="p")
        assert done.exit_code == 0 and "1 of 1 pictures" in done.output, done.output
    assert sorted(contents(tmp_path / "p")) == ["a.jpg", "a.webp"]


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def odd_photos(folder):
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    swapped = bytes(swapped).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    put(folder / "phone.jpg", saved(noise(), "JPEG", exif=exif, icc_profile=swapped, quality=100))
    buffer = io.BytesIO()
    Image.fromarray(noise()).convert("CMYK").save(buffer, "JPEG")
    put(folder / "print.jpg", buffer.getvalue())
    put(folder / "pixel.png", noise(1, 1))
    put(folder / "wide.png", noise(3, 200))
    put(folder / "grey16.png", saved(np.arange(192, dtype=np.uint16).reshape(12, 16) * 300))
    cut_out = np.dstack([noise(), np.zeros((12, 16), np.uint8)])
    cut_out[2:9, 3:11, 3], cut_out[9, 3:11, 3] = 255, 120
    put(folder / "cut_out.png", cut_out)
    return cut_out


def test_odd_photos_go_through_a_model(enhance, tmp_path):
    cut_out = odd_photos(tmp_path / "p")
    done = enhance("p", "--format", "png", model="twice")
    assert done.exit_code == 0 and done.output.endswith("6 of 6 pictures: o\n"), done.output
    sizes = {path.stem: opened(path).size for path in (tmp_path / "o").iterdir()}
    assert sizes == {
        "phone": (24, 32), "print": (32, 24), "pixel": (2, 2), "wide": (400, 6), "grey16": (32, 24), "cut_out": (32, 24)
    }  # fmt: skip
    phone = opened(tmp_path / "o/phone.png")
    assert phone.getexif()[0x010F] == "Maker" and phone.getexif().get(0x0112, 1) == 1
    assert (
        ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(phone.info["icc_profile"])))
        == "sRGB built-in\n"
    )
    assert (
        np.abs(
            np.asarray(phone).astype(int) - decode((tmp_path / "p/phone.jpg").read_bytes()).repeat(2, 0).repeat(2, 1)
        ).max()
        == 0
    )
    alpha = np.asarray(Image.open(tmp_path / "o/cut_out.png"))[:, :, 3]
    wanted = Image.fromarray(cut_out[:, :, 3]).resize((32, 24), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(alpha, np.asarray(wanted))


def test_what_a_model_sees_of_a_cut_out_has_no_hidden_colours(enhance, tmp_path):
    cut_out = np.zeros((12, 16, 4), np.uint8)
    cut_out[4:8, 4:12] = (200, 150, 100, 255)
    put(tmp_path / "a.png", cut_out)
    assert enhance("a.png", model="smooth").exit_code == 0
    result = np.asarray(Image.open(tmp_path / "o/a.png"))
    np.testing.assert_array_equal(result[4:8, 4:12], cut_out[4:8, 4:12])  # within reach of hidden black
    np.testing.assert_array_equal(result[:, :, 3], cut_out[:, :, 3])


def test_a_bad_photo_is_named_and_the_others_are_done(enhance, tmp_path):
    put(tmp_path / "p/a.png", noise()), put(tmp_path / "p/z.png", noise())
    put(tmp_path / "p/cut.jpg", saved(noise(300, 300), "JPEG")[:-3000]), put(tmp_path / "p/web.png", b"<html>")
    done = enhance("p", model="negative")
    assert done.exit_code == 0 and done.output.endswith("2 of 4 pictures: o\n"), done.output
    assert "p/cut.jpg: truncated or damaged JPEG picture" in done.output
    assert "p/web.png: not a picture that can be read, but: web page" in done.output
    assert sorted(contents(tmp_path / "o")) == ["a.png", "z.png"]
    for name in ("a.png", "z.png"):
        (tmp_path / "p" / name).unlink()
    assert refused(enhance("p", model="negative"), "none of the files could be used")
    (tmp_path / "empty").mkdir()
    assert refused(enhance("empty", model="negative"), "empty is empty")


def test_a_result_that_would_be_too_large_is_named(enhance, tmp_path, monkeypatch):
    put(tmp_path / "p/large.png", noise(20, 20)), put(tmp_path / "p/small.png", noise(4, 4))
    put(tmp_path / "p/long.webp", saved(noise(1, 9000), "WEBP"))
    monkeypatch.setattr("trainer.enhancing.steps.MOST_PIXELS", 40_000)
    assert "p/long.webp: 18000x2 is too large for WEBP" in enhance("p", model="twice").output
    monkeypatch.setattr("trainer.enhancing.steps.MOST_PIXELS", 1000)
    assert "p/large.png: it would become 40x40, more than" in enhance("p", model="twice", out="n").output


@pytest.mark.parametrize("model, scale", [("negative", 1), ("twice", 2), (None, 1)])
def test_what_a_mask_keeps_comes_out_bit_for_bit(enhance, tmp_path, model, scale):
    """At a scale, as the photo's bicubic enlargement."""
    for seed, name in enumerate(["a.jpg", "b.png"]):
        put(tmp_path / "p" / name, saved(noise(seed=seed), "JPEG" if name == "a.jpg" else "PNG"))
        put(tmp_path / "m" / name.replace("jpg", "png"), noise(seed=seed + 10) // 128 * 255)
    done = enhance("p", "--keep", "m", "--edits", "exposure:1", "--after", "saturation:0", model=model)
    assert done.exit_code == 0 and sorted(contents(tmp_path / "o")) == ["a.png", "b.png"], done.output
    for name in ("a", "b"):
        photo = Image.fromarray(decode(next((tmp_path / "p").glob(f"{name}.*")).read_bytes()))
        mask = (made(tmp_path / f"m/{name}.png").mean(axis=2) >= 128).repeat(scale, 0).repeat(scale, 1)
        wanted = np.asarray(photo.resize((16 * scale, 12 * scale), Image.Resampling.BICUBIC))
        result = made(tmp_path / f"o/{name}.png")
        np.testing.assert_array_equal(result[mask], wanted[mask])
        assert (np.ptp(result[~mask], axis=1) == 0).all() and 0 < mask.mean() < 1


def test_masks_that_do_not_fit_are_told(enhance, tmp_path):
    put(tmp_path / "p/a.png", noise()), put(tmp_path / "p/b.png", noise()), put(tmp_path / "p/c.png", noise())
    put(tmp_path / "m/a.png", noise(5, 5)), put(tmp_path / "m/c.png", noise())
    done = enhance("p", "--keep", "m", model="negative")
    assert done.exit_code == 0 and done.output.endswith("1 of 3 pictures: o\n")
    assert "p/a.png: its mask is 5x5 and the photo 16x12; they must have one size" in done.output
    assert "p/b.png: m/b.png: No such file or directory" in done.output
    for words, sentence in (
        (("--format", "jpeg"), "JPEG does not keep every pixel as it is; with a mask of what to keep, write PNG"),
        (("--edits", "crop"), "crop would move the pixels that the mask keeps"),
        (("--after", "crop,square"), "crop and square would move the pixels that the mask keeps"),
    ):
        assert refused(enhance("p", "--keep", "m", *words, model="negative"), sentence)


def test_large_photos_pass_in_tiles(enhance, tmp_path):
    put(tmp_path / "a.png", noise(90, 130))
    assert enhance("a.png", "--tile", 64, model="smooth").exit_code == 0
    assert enhance("a.png", "--tile", 1000, model="smooth", out="whole").exit_code == 0
    tiled, whole = made(tmp_path / "o/a.png").astype(int), made(tmp_path / "whole/a.png")
    assert np.abs(tiled - whole).max() <= 1


def test_format_and_quality_are_chosen(enhance, tmp_path):
    put(tmp_path / "a.png", noise(64, 64))
    sizes = []
    for quality in (95, 20):
        assert enhance("a.png", "--format", "jpeg", "--quality", quality, "--edits", "exposure:0").exit_code == 0
        sizes.append((tmp_path / "o/a.jpg").stat().st_size)
    assert sizes[1] < 0.6 * sizes[0] and opened(tmp_path / "o/a.jpg").format == "JPEG"


def test_standard_input_becomes_standard_output(enhance, tmp_path):
    for kind in ("JPEG", "PNG"):
        done = enhance("-", model="twice", out="-", stdin=saved(noise(), kind))
        assert done.exit_code == 0
        image = Image.open(io.BytesIO(done.stdout_bytes))
        assert image.format == kind and image.size == (32, 24)
    put(tmp_path / "a.png", noise()), put(tmp_path / "m.png", noise())
    done = enhance("a.png", "--keep", "m.png", "--edits", "exposure:2", out="-")
    kept = noise().mean(axis=2) >= 128
    np.testing.assert_array_equal(decode(done.stdout_bytes)[kept], noise()[kept])
    assert refused(
        enhance("-", model="twice", out="-", stdin=b"<html>"), "not a picture that can be read, but: web page"
    )


@pytest.mark.parametrize(
    ("photos", "words", "sentence"),
    [
        ("p", (), "there is nothing to do: give --model, --prior, --edits or --after"),
        ("p", ("--edits", "blur"), "there is no edit 'blur'; there are: white_balance, "),
        ("p", ("--edits", "crop", "--tile", "64"), "--best, --set and --tile are for a model, and there is no --model"),
        ("p", ("--edits", "crop", "--watch", "--page", "x.html"), "--watch has no end"),
        ("p", ("--edits", "crop", "--sheet", "x.gif"), "x.gif: a picture is written as .png, .jpg, .jpeg"),
        ("p", ("--edits", "crop", "--out", "-"), "standard input and output hold one photo each"),
        ("-", ("--edits", "crop"), "standard input and output hold one photo each"),
        ("-", ("--edits", "crop", "--out", "-", "--watch"), "need files for photos and results"),
        ("nowhere", ("--edits", "crop"), "there is no file or folder nowhere"),
        ("p", ("--model", "nowhere"), "no exported model in nowhere"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(enhance, tmp_path, photos, words, sentence):
    put(tmp_path / "p/a.png", noise())
    assert refused(enhance(photos, *words), sentence)
    assert not (tmp_path / "o").exists()


def test_models_that_do_not_enhance_are_told(enhance, tmp_path):
    put(tmp_path / "a.png", noise())
    assert refused(
        enhance("a.png", model="fixed"), "does not make pictures of pictures of any size; see `packshot apply`"
    )
    assert refused(enhance("a.png", model="half"), "the model makes 48x32 of a picture of 96x64")
    assert refused(enhance("a.png", "--set", "strength=2", model="negative"), "takes no number strength")


def test_memory_that_does_not_suffice_shrinks_the_tiles(toys, monkeypatch):
    run = offline.Session.run

    def small(session, signature, inputs):
        if inputs["images"].shape[1] > 70:
            raise offline.SessionError(8, "OOM when allocating tensor")
        return run(session, signature, inputs)

    with offline.enhancer(f"{toys}/negative") as tiled:
        monkeypatch.setattr(offline.Session, "run", small)
        np.testing.assert_array_equal(tiled(noise(200, 100)), 255 - noise(200, 100))
        assert tiled.tile <= 70
        monkeypatch.setattr(offline.Session, "run", lambda *_: (_ for _ in ()).throw(offline.SessionError(3, "odd")))
        with pytest.raises(BadPicture, match="odd"):
            tiled(noise())


def test_an_export_is_known_by_its_weights_and_its_graph(toys):
    assert offline.identity(f"{toys}/negative") == offline.identity(f"{toys}/negative/1")
    assert len({offline.identity(f"{toys}/{name}") for name in ("negative", "twice", "smooth")}) == 3


def test_a_hot_folder_is_watched(enhance, tmp_path, monkeypatch):
    """What happens while it waits: photos arrive, one slowly, one is changed, and then comes Ctrl-C."""
    (tmp_path / "p").mkdir()
    whole = saved(noise())
    later = time.time_ns() + 10**10

    def change():
        put(tmp_path / "p/a.png", saved(noise(seed=1)))
        os.utime(tmp_path / "p/a.png", ns=(later, later))

    arrivals = iter(
        [
            lambda: put(tmp_path / "p/a.png", whole),
            lambda: put(tmp_path / "p/b.png", whole[:50]),  # and a is complete
            lambda: put(tmp_path / "p/b.png", whole),
            lambda: put(tmp_path / "p/bad.png", b"<html>"),  # and b is
            lambda: None,
            change,
            lambda: None,
            lambda: None,
        ]
    )

    def sleep(seconds):
        try:
            next(arrivals)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(watch.time, "sleep", sleep)
    done = enhance("p", "--watch", model="negative")
    assert done.exit_code == 130, done.output
    said = [text for text in done.output.splitlines() if "pictures:" in text]
    assert said == ["1 of 1 pictures: o", "1 of 1 pictures: o", "0 of 1 pictures: o", "1 of 1 pictures: o"]
    assert done.output.count("p/bad.png: not a picture") == 1
    np.testing.assert_array_equal(made(tmp_path / "o/a.png"), 255 - noise(seed=1))
    assert sorted(contents(tmp_path / "o")) == ["a.png", "b.png"]


def test_photos_leave_the_line_in_order_however_little_room_there_is(enhance, tmp_path, monkeypatch):
    for number in range(12):
        put(tmp_path / f"p/{number:02}.png", noise(5 + number, 9))
    put(tmp_path / "p/05.png", b"bad")
    monkeypatch.setattr(line, "ROOM", 100)
    assert enhance("p", model="negative").output.endswith("11 of 12 pictures: o\n")
    for number in set(range(12)) - {5}:
        np.testing.assert_array_equal(made(tmp_path / f"o/{number:02}.png"), 255 - noise(5 + number, 9))


def test_a_room_is_entered_in_turn_and_never_overfilled():
    room, inside, most, order = line._Room(10), 0, 0, []
    lock = threading.Lock()

    def visit(turn, pixels):
        nonlocal inside, most
        taken = room.enter(turn, pixels)
        with lock:
            inside, order[len(order) :] = inside + taken, [turn]
            most = max(most, inside)
        time.sleep(0.001)
        with lock:
            inside -= taken
        room.leave(taken)

    threads = [threading.Thread(target=visit, args=(turn, 3 + turn % 9)) for turn in reversed(range(30))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 10 and inside == 0 and len(order) == 30


def test_an_error_of_the_program_ends_the_line(enhance, tmp_path, monkeypatch):
    for number in range(9):
        put(tmp_path / f"p/{number}.png", noise())
    monkeypatch.setattr(line, "ROOM", 1)

    def broken(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr("trainer.enhancing.steps.enhance", broken)
    done = enhance("p", "--edits", "median")
    assert isinstance(done.exception, RuntimeError)


def test_a_sheet_shows_pairs(enhance, tmp_path):
    for number in range(4):
        put(tmp_path / f"p/{number}.png", np.full((320, 320, 3), 40 * number, np.uint8))
    put(tmp_path / "p/0bad.png", b"bad")
    for _ in range(2):
        done = enhance("p", "--sheet", "s.png", model="negative")
        assert done.exit_code == 0, done.output
    sheet = made(tmp_path / "s.png")
    assert sheet.shape == (644, 6 * 324 - 4, 3)
    assert [int(sheet[5, 5 + 324 * column, 0]) for column in range(6)] == [0, 255, 40, 215, 80, 175]
    assert outputs.made_by(str(tmp_path / "s.png"), line.BY)


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=BROWSER)
        yield started
        started.close()


def test_a_page_has_a_slider_for_each_photo(enhance, tmp_path, browser):
    put(tmp_path / "p/<b>.png", np.full((60, 80, 3), 20, np.uint8)), put(tmp_path / "p/c.png", noise(60, 80))
    assert enhance("p", "--page", "x.html", model="twice", out="o").exit_code == 0
    assert enhance("p", "--page", "x.html", "--after", "exposure:5", model="negative").exit_code == 0
    page = browser.new_page(viewport={"width": 900, "height": 700})
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.goto((tmp_path / "x.html").as_uri())
    assert page.title() == "p, enhanced" and page.locator(".pair").count() == 2
    assert page.locator("figcaption").first.inner_text() == "p/<b>.png"

    def shown():
        picture = np.asarray(Image.open(io.BytesIO(page.locator(".pair").first.screenshot())).convert("RGB"))
        return [int(picture[30, column, 0]) for column in (10, 30, 50, 70)]

    assert shown() == [20, 20, 255, 255]
    slider = page.get_by_role("slider").first
    slider.fill("75")
    assert shown() == [20, 20, 20, 255]
    slider.press("Home")
    assert shown() == [255, 255, 255, 255]
    slider.click(position={"x": 20, "y": 30})
    assert shown()[0] == 20 and shown()[1:] == [255, 255, 255]
    assert faults == [] and all(url.startswith(("file:", "data:")) for url in asked)
    page.close()


def test_formats_of_every_kind_say_who_made_them(tmp_path):
    for kind in ("PNG", "JPEG", "WEBP", "AVIF"):
        for array in (noise(), np.dstack([noise(), noise()[:, :, 0]])[:, :, : 3 if kind == "JPEG" else 4]):
            content = saved(array, kind)
            path = str(tmp_path / kind)
            outputs.write(path, content, "packshot enhance 12ab")
            with open(path, "rb") as file:
                marked = file.read()
            assert outputs.made_by(path, "packshot enhance") and outputs.made_by(path, "packshot enhance 12ab")
            assert not outputs.made_by(path, "packshot enhance 12ac") and not outputs.made_by(path, "packshot apply")
            assert outputs.marked(marked, "packshot enhance 12ab") == marked != content
            np.testing.assert_array_equal(read(marked).pixels, read(content).pixels)


def test_a_prior_needs_one_photo_and_nothing_else(enhance, tmp_path):
    photo = put(tmp_path / "a.png", noise())
    done = enhance(photo, "--prior", "x2", "--prior-steps", 3)
    assert done.exit_code == 0 and "the result of step 1 of 3" in done.output, done.output
    assert decode((tmp_path / "o" / "a.png").read_bytes()).shape == (24, 32, 3)


def test_inpainting_fills_what_the_mask_leaves(enhance, tmp_path):
    pixels, mask = noise(), np.full((12, 16), 255, np.uint8)
    mask[3:7, 4:9] = 0
    put(tmp_path / "mask.png", mask)
    done = enhance(
        put(tmp_path / "a.png", pixels), "--prior", "inpaint", "--keep", tmp_path / "mask.png", "--prior-steps", 2
    )
    assert done.exit_code == 0, done.output
    filled = decode((tmp_path / "o" / "a.png").read_bytes())
    np.testing.assert_array_equal(filled[mask == 255], pixels[mask == 255])
    assert not np.array_equal(filled, pixels)


def test_what_a_prior_cannot_do_is_told(enhance, tmp_path):
    photo, white = put(tmp_path / "a.png", noise()), put(tmp_path / "white.png", np.full((12, 16), 255, np.uint8))
    large = put(tmp_path / "large.png", noise(1001, 1000))
    assert refused(enhance(photo, "--prior", "inpaint"), "needs --keep MASK")
    assert refused(enhance(photo, "--prior", "inpaint", "--keep", white), "all white or all black")
    assert refused(enhance(photo, "--prior", "x2", model="twice"), "no --model")
    assert refused(enhance(tmp_path, "--prior", "x2"), "is a folder")
    assert refused(enhance(large, "--prior", "x2"), "2000x2002 px")
    assert refused(enhance(put(tmp_path / "b.jpg", b"no picture"), "--prior", "denoise"), "b.jpg")
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())
