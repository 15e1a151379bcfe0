"""Bundles for tests: of models that were never trained, with figures that nobody measured, in a second."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from serving.deploy import bundle, sizing
from serving.deploy.sizing import Measurement

MIB = 1 << 20
SECONDS = {1: 0.010, 2: 0.012, 4: 0.016, 8: 0.030, 16: 0.059, 32: 0.130}  # 100, 167, 250, 267, 271, 246 rows a second
GENERATOR = Measurement(
    request={"seed": "int64 []", "truncation": "float32 []"},
    seconds=SECONDS,
    run_bytes={size: 4 * size * MIB for size in SECONDS},
    load_bytes=50 * MIB,
    signatures={"serving_default": {"seed": "int64 []", "truncation": "float32 []"}},
    any_size=(),
)
ENHANCER = Measurement(
    request={"images": "uint8 [256, 256, 3]"},
    seconds=SECONDS,
    run_bytes=GENERATOR.run_bytes,
    load_bytes=10 * MIB,
    signatures={"serving_default": {"images": "uint8 [any, any, 3]"}, "apply_bytes": {"image_bytes": "object []"}},
    any_size=("apply", "serving_default"),
)


def models(folder, **versions) -> Path:
    """A folder of models, name -> versions, that nothing could load."""
    for name, numbers in versions.items():
        for number in numbers:
            path = Path(folder, name, str(number))
            path.mkdir(parents=True)
            (path / "saved_model.pb").write_bytes(b"x" * 1000)
            (path / "export.json").write_text(json.dumps({"weights sha256": f"{name}{number}"}))
    return Path(folder)


def make(models_dir, out, measured, **options):
    """`bundle.bundle` with the Measurement of each model taken from `measured`; returns its plan."""

    def measure(version, *, timed, **_):
        found = measured[Path(version).parent.name]
        return found if timed else Measurement({}, {}, {}, found.load_bytes, found.signatures, found.any_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing, "measure", measure)
        return bundle.bundle(str(models_dir), str(out), **options)


def tool(name) -> str:
    """The path of a program, installed beside Python or anywhere on PATH; skips the test when there is none."""
    found = shutil.which(name, path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found
