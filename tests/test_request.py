"""`packshot request` against a running server, in processes of its own where TensorFlow cannot be imported."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import served
import small_models
from click.testing import CliRunner
from PIL import Image
from served import entry, listed, specific, until
from watching import hearing, watched

from serving.client.client import Client
from serving.export.session import SessionError
from serving.wire.messages import CODES
from trainer.cli import main
from trainer.commands import connection, request

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def server(models):
    with watched(models) as made:
        yield made


@pytest.fixture(params=["grpc", "rest"])
def address(request, server):
    return getattr(server, request.param)


def _ask(address, model, *words):
    return CliRunner().invoke(main, ["request", "--server", address, "--model", model, *map(str, words)])


def _pixels(path):
    return np.array(Image.open(path))


def test_everything_works_where_tensorflow_cannot_be_imported(server, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (3, 2), (255, 0, 10)).save(tmp_path / "photos" / "a.png")
    runs = [
        ["--model", "gan", "generate", "--seed", "1", "--out", str(tmp_path / "made")],
        ["--model", "negative", "apply", str(tmp_path / "photos"), "--out", str(tmp_path / "large")],
        ["--model", "gan", "status"],
        ["--model", "gan", "signatures"],
    ]
    code = "import sys, runpy\nsys.modules['tensorflow'] = sys.modules['tensorflow_serving'] = None\n"
    for words in runs:
        argv = ["packshot", "request", "--server", server.grpc, *words]
        code_of_run = code + f"sys.argv = {argv!r}\nrunpy.run_module('trainer.cli', run_name='__main__')"
        done = subprocess.run(
            [sys.executable, "-c", code_of_run], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
    assert _pixels(tmp_path / "made" / "seed-1.png")[0, 0].tolist() == [1, 100, 0]
    assert _pixels(tmp_path / "large" / "a.png")[0, 0].tolist() == [0, 255, 245]


def test_one_png_for_each_seed(address, tmp_path):
    done = _ask(
        address, "gan", "generate", "--seed", 7, "--seed", 100, "--n", 2, "--truncation", 0.5, "--out", tmp_path
    )
    assert done.exit_code == 0 and done.output.endswith(f"4 pictures: {tmp_path}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"seed-{seed}.png" for seed in (100, 101, 7, 8)]
    for seed in (7, 8, 100, 101):
        picture = _pixels(tmp_path / f"seed-{seed}.png")
        assert picture.shape == (small_models.SIZE, small_models.SIZE, 3)
        assert picture[3, 3].tolist() == [seed, 50, 0]


def test_more_seeds_than_one_request_holds(server, tmp_path):
    assert _ask(server.grpc, "gan", "generate", "--n", 40, "--out", tmp_path).exit_code == 0
    assert [_pixels(tmp_path / f"seed-{seed}.png")[0, 0, 0] for seed in range(40)] == list(range(40))


def test_a_conditional_model_wants_a_category(address, tmp_path):
    assert _ask(address, "conditional", "generate", "--seed", 3, "--label", 5, "--out", tmp_path).exit_code == 0
    assert _pixels(tmp_path / "seed-3-label-5.png")[0, 0].tolist() == [3, 100, 5]
    done = _ask(address, "conditional", "generate")
    assert (done.exit_code, done.output) == (
        2,
        "Error: the model conditional is conditional on classes; choose one by --label: numbers from 0\n",
    )
    done = _ask(address, "gan", "generate", "--label", 5)
    assert done.exit_code == 2 and "without classes" in done.output


def test_a_category_is_asked_for_by_the_name_it_has_in_the_model(address, tmp_path):
    for label, number, file in [
        ("2", 1, "seed-3-label-2.png"),  # the class of that name, as `packshot sample` takes it
        ("1", 0, "seed-3-label-1.png"),
        ("a/b shoes", 2, "seed-3-label-a%2Fb%20shoes.png"),
        ("0", 0, "seed-3-label-1.png"),  # no class has that name
    ]:
        done = _ask(address, "named", "generate", "--seed", 3, "--label", label, "--out", tmp_path)
        assert done.exit_code == 0, done.output
        assert _pixels(tmp_path / file)[0, 0].tolist() == [3, 100, number]
    assert len(list(tmp_path.iterdir())) == 3
    for words, sentence in [
        (["--label", "boots"], "unknown label 'boots'; have: 1, 2, a/b shoes"),
        (["--label", "3"], "unknown label '3'; have: 1, 2, a/b shoes"),
        ([], "the model named is conditional on classes; choose one by --label: 1, 2, a/b shoes"),
    ]:
        done = _ask(address, "named", "generate", *words, "--out", tmp_path)
        assert (done.exit_code, done.output) == (2, f"Error: {sentence}\n")
    for label in ("boots", "9" * 30):
        done = _ask(address, "conditional", "generate", "--label", label)
        assert done.exit_code == 2 and "have: numbers from 0" in done.output
    assert _ask(address, "named", "signatures").output.endswith("\nclasses, numbered from 0: 1, 2, a/b shoes\n")
    assert json.loads(_ask(address, "named", "signatures", "--json").output)["classes"] == ["1", "2", "a/b shoes"]


def test_no_two_categories_share_the_name_of_a_file():
    names = ["a,b", "a b", "a_b", "a/b", "a%2Cb", "..", "größe", "靴", "-1", "1"]
    assert len({request._in_a_name(name) for name in names}) == len(names)
    assert all("/" not in request._in_a_name(name) for name in names)


def test_what_is_made_goes_where_it_harms_nothing(address, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # its own are replaced
        assert _ask(address, "gan", "generate", "--seed", 7, "--out", "~/made").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    (tmp_path / "made" / "seed-8.png").write_text("mine")
    done = _ask(address, "gan", "generate", "--seed", 7, "--n", 2, "--out", "made")
    assert done.exit_code == 2 and "made/seed-8.png is there and was not made by" in done.output
    assert (tmp_path / "made" / "seed-8.png").read_text() == "mine"
    Image.new("RGB", (3, 2)).save("photo.png")
    before = Path("photo.png").read_bytes()
    done = _ask(address, "negative", "apply", "~/photo.png", "--out", "~")
    assert done.exit_code == 2 and Path("photo.png").read_bytes() == before


def test_a_place_that_one_picture_cannot_have_does_not_stop_the_others(address, tmp_path):
    (tmp_path / "photos").mkdir()
    names = ["a.png", "猫" * 76 + ".png", "z.png"]
    for name in names:
        Image.new("RGB", (3, 2)).save(tmp_path / "photos" / name)
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    done = _ask(address, "negative", "apply", tmp_path / "photos", "--out", tmp_path / "out")
    assert done.exit_code == 0 and "2 of 3 pictures" in done.output and "Is a directory" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)


def test_a_model_without_png_is_asked_for_pixels(models, tmp_path):
    served.place(models / "gan" / "1", tmp_path / "gan", 1)
    with served.edited(tmp_path / "gan" / "1") as graph:
        del graph.signature_def["generate_png"]
    with watched(tmp_path) as server:
        assert _ask(server.grpc, "gan", "generate", "--seed", 9, "--out", tmp_path).exit_code == 0
    assert _pixels(tmp_path / "seed-9.png")[0, 0].tolist() == [9, 100, 0]


def _photos(folder):
    """Six photos in two folders, one of them on its side, and two files that are none."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "inside").mkdir(parents=True)
    for place in range(5):
        Image.new("RGB", (4, 3), (place, 100, 200)).save(folder / f"{place}.png")
    Image.new("RGB", (4, 3), (5, 100, 200)).save(folder / "inside" / "turned.png", exif=exif)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    (folder / "notes.jpg").write_text("not a picture")
    (folder / ".hidden").write_text("not looked at")


def test_a_folder_becomes_a_folder_and_bad_photos_are_named(address, tmp_path):
    _photos(tmp_path / "photos")
    done = _ask(address, "negative", "apply", tmp_path / "photos", "--out", tmp_path / "out", "--parallel", 3)
    assert done.exit_code == 0 and f"6 of 8 pictures: {tmp_path / 'out'}" in done.output
    for bad in ("broken.jpg", "notes.jpg"):
        assert f"{tmp_path / 'photos' / bad}: " in done.output
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == [*(f"{place}.png" for place in range(5)), "inside/turned.png"]
    for place in range(5):
        assert _pixels(tmp_path / "out" / f"{place}.png")[0, 0].tolist() == [255 - place, 155, 55]
    assert _pixels(tmp_path / "out" / "inside" / "turned.png").shape == (4, 3, 3)


def test_files_may_go_as_they_are(server, tmp_path):
    _photos(tmp_path / "photos")
    photo = tmp_path / "photos" / "inside" / "turned.png"
    assert _ask(server.grpc, "negative", "apply", photo, "--out", tmp_path / "out", "--as-is").exit_code == 0
    assert _pixels(tmp_path / "out" / "turned.png").shape == (3, 4, 3)
    assert server.done[-1][1].inputs["image_bytes"].string_val[0] == photo.read_bytes()


def test_files_the_server_cannot_read_are_named_in_one_line(address, tmp_path):
    _photos(tmp_path / "photos")
    done = _ask(address, "negative", "apply", tmp_path / "photos", "--out", tmp_path / "out", "--as-is")
    broken, notes, count = done.output.splitlines()
    assert broken.startswith(f"{tmp_path / 'photos' / 'broken.jpg'}: jpeg::Uncompress failed")
    assert notes.startswith(f"{tmp_path / 'photos' / 'notes.jpg'}: Unknown image file format. One of JPEG")
    assert done.exit_code == 0 and count == f"6 of 8 pictures: {tmp_path / 'out'}"


def test_what_the_server_says_of_one_photo_does_not_stop_the_others(models, tmp_path):
    _photos(tmp_path / "photos")
    with watched(models, "negative") as server:
        server.faults.extend([0.0, SessionError(CODES["RESOURCE_EXHAUSTED"], "OOM when allocating tensor")])
        done = _ask(server.grpc, "negative", "apply", tmp_path / "photos", "--out", tmp_path / "out", "--parallel", 1)
    assert done.exit_code == 0 and "OOM when allocating" in done.output and "5 of 8 pictures" in done.output


def test_a_server_that_goes_away_ends_the_command(models, tmp_path):
    _photos(tmp_path / "photos")
    with watched(models, "negative") as server:
        server.faults.extend(
            [0.0, SessionError(CODES["NOT_FOUND"], "Servable not found for request: Latest(negative)")]
        )
        done = _ask(server.grpc, "negative", "apply", tmp_path / "photos", "--out", tmp_path / "out", "--parallel", 1)
        assert (done.exit_code, done.output.splitlines()[-1]) == (
            2,
            "Error: Servable not found for request: Latest(negative)",
        )
        assert len(server.seen) < 8


def test_no_good_photo_at_all_is_an_error(server, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    done = _ask(server.grpc, "negative", "apply", tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and done.output.endswith("Error: none of the files could be used\n")
    (tmp_path / "empty").mkdir()
    done = _ask(server.grpc, "negative", "apply", tmp_path / "empty", "--out", tmp_path / "out")
    assert done.exit_code == 2 and "is empty" in done.output


def test_status_lists_versions_and_fails_without_an_available_one(address):
    done = _ask(address, "gan", "status")
    assert (done.exit_code, done.output) == (0, "version 1  AVAILABLE\n")
    done = _ask(address, "gan", "status", "--json")
    assert json.loads(done.output) == [{"version": 1, "state": "AVAILABLE", "code": "OK", "message": ""}]


def test_versions_that_load_and_that_failed_are_told(models, tmp_path):
    base = tmp_path / "gan"
    for number in (1, 2, 3):
        served.place(models / "gan" / "1", base, number)
    for number in (2, 3):
        served.damage(base / str(number))

    def config(*numbers):
        return listed(entry(base, specific(*numbers), "gan"))

    def states():
        return [one.state for one in client.status("gan")]

    def told():
        done = _ask(server.grpc, "gan", "status")
        return done.exit_code, done.output

    with watched(tmp_path, config=config(1)) as server, Client(server.grpc) as client:
        client.reload(config(1, 2))
        until(lambda: states() == ["END", "AVAILABLE"])
        failed = f"version 2  END  OUT_OF_RANGE: {client.status('gan')[0].message}\n"
        assert told() == (0, failed + "version 1  AVAILABLE\n")
        client.reload(config())
        until(lambda: states() == ["END", "END"])
        assert told() == (1, failed + "version 1  END\n")
    trying = {"max_num_load_retries": 1, "load_retry_interval_micros": 60_000_000, "num_load_threads": 1}
    with watched(tmp_path, config=config(1), **trying) as server, Client(server.grpc) as client:
        client.reload(config(1, 3))
        until(lambda: states() == ["LOADING", "AVAILABLE"])
        assert told() == (0, "version 3  LOADING\nversion 1  AVAILABLE\n")


def test_signatures_show_types_and_shapes(address):
    done = _ask(address, "gan", "signatures")
    assert done.exit_code == 0 and done.output.startswith("gan, version 1\n")
    assert (
        """
generate_png
     seed: int64 [any]
     truncation: float32 [any]
  -> image_bytes: string [any]
"""
        in done.output
    )
    described = json.loads(_ask(address, "gan", "signatures", "--json").output)
    assert described["version"] == 1
    assert described["signatures"]["generate"]["outputs"] == {
        "images": {"dtype": "uint8", "shape": [None, small_models.SIZE, small_models.SIZE, 3]}
    }


def test_version_label_timeout_and_headers_go_with_the_call(models, tmp_path):
    for number in (1, 2):
        served.place(models / "gan" / "1", tmp_path / "gan", number)
    config = listed(entry(tmp_path / "gan", specific(1, 2, stable=1), "gan"))

    def ask(*options, address=None):
        words = ["request", "--server", address or server.grpc, "--model", "gan", *options, "signatures"]
        return CliRunner().invoke(main, words)

    with hearing() as (address, heard):
        ask("--header", "Authorization: Bearer x", address=address)
    assert heard[0]["authorization"] == "Bearer x"
    with watched(tmp_path, config=config, allow_version_labels_for_unavailable_models=True) as server:
        with Client(server.grpc) as client:
            client.wait_available("gan", 1)
        assert ask("--version-label", "stable").output.startswith("gan, version 1\n")
        assert ask("--version", "2").output.startswith("gan, version 2\n")
        server.faults.append(1.0)
        done = ask("--timeout", "0.2")
        assert done.exit_code == 2 and "has not answered within 0.2 s" in done.output
        for options, words in [
            (["--version", "1", "--version-label", "stable"], "not both"),
            (["--header", "Bearer x"], 'a header is "name: value"'),
            (["--tls-cert", "nowhere.crt"], "go together"),
            (["--tls-ca", "nowhere.crt"], "No such file"),
        ]:
            done = ask(*options)
            assert done.exit_code == 2 and words in done.output and done.output.startswith("Error: ")


@pytest.mark.parametrize(
    "model, words, sentence",
    [
        ("nope", ["generate"], "Servable not found for request: Latest(nope)"),
        (
            "negative",
            ["generate"],
            "the model negative has no signature generate_png or generate; it has: apply_bytes, serv",
        ),
        (
            "gan",
            ["apply", str(ROOT / "setup.py"), "--out", "o"],
            "the model gan has no signature apply_bytes; it has: gene",
        ),
        ("nope", ["signatures"], "Servable not found for request: Latest(nope)"),
        ("nope", ["status"], "Could not find any versions of model nope"),
    ],
)
def test_what_the_user_can_put_right_is_one_sentence_and_exit_code_2(address, model, words, sentence):
    done = _ask(address, model, *words)
    assert done.exit_code == 2 and done.output.startswith(f"Error: {sentence}") and done.output.count("\n") == 1


def test_what_is_broken_in_the_server_is_exit_code_1(models):
    with watched(models, "gan") as server:
        server.faults.append(SessionError(CODES["INTERNAL"], "cuDNN has gone"))
        done = _ask(server.grpc, "gan", "status")
    assert (done.exit_code, done.output) == (1, "Error: cuDNN has gone\n")


def test_nothing_a_server_says_moves_the_cursor():
    assert connection.sentence("no\x1b[2J\x00 such\nmodel\x9b") == "no\ufffd[2J\ufffd such\nmodel\ufffd"


@pytest.mark.parametrize("command", [["request"], ["canary", "start"], ["canary", "promote"]])
def test_versions_are_those_a_server_can_have(command):
    done = CliRunner().invoke(main, [*command, "--model", "m", "--version", "99999999999999999999", "status"])
    assert done.exit_code == 2 and "is not in the range" in done.output


def test_no_server_and_no_model_are_said(server):
    done = _ask("localhost:1", "gan", "status")
    assert done.exit_code == 2 and done.output.startswith("Error: no gRPC server can be reached at localhost:1: ")
    done = CliRunner().invoke(main, ["request", "--server", server.grpc, "status"])
    assert (done.exit_code, done.output) == (2, "Error: --model NAME is missing; it goes before the command\n")
    done = _ask("nonsense", "gan", "status")
    assert done.exit_code == 2 and "host:port" in done.output


@pytest.mark.parametrize("command", ["generate", "apply", "status", "signatures"])
def test_every_command_has_help_without_naming_a_model(command):
    done = CliRunner().invoke(main, ["request", command, "--help"])
    assert done.exit_code == 0 and f"request {command}" in done.output


def test_what_a_mask_keeps_is_put_back_and_a_mask_that_does_not_fit_is_told(address, tmp_path):
    for name, size in (("photos/a", (3, 2)), ("photos/b", (3, 2)), ("masks/a", (3, 2)), ("masks/b", (2, 2))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size, (255, 255, 255) if name == "masks/a" else (255, 0, 10)).save(tmp_path / f"{name}.png")
    words = ["apply", tmp_path / "photos", "--keep", tmp_path / "masks", "--out", tmp_path / "out"]
    done = _ask(address, "negative", *words)
    assert done.exit_code == 0 and done.output.endswith(f"1 of 2 pictures: {tmp_path}/out\n"), done.output
    assert "photos/b.png: its mask is 2x2 and the photo 3x2; they must have one size" in done.output
    assert _pixels(tmp_path / "out" / "a.png")[0, 0].tolist() == [255, 0, 10]
    done = _ask(address, "negative", *words, "--as-is")
    assert (done.exit_code, "give --keep or --as-is, not both" in done.output) == (2, True)
