"""The client as it is installed: under a name of its own, in projects that have packages called as ours are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APP = """
import sys
for name in ("tensorflow", "keras"):
    sys.modules[name] = None

import numpy as np
import data, models, serving, trainer
import packshot_client
from packshot_client import TLS, AsyncClient, Client, ServingError
from packshot_client.client.channels import GrpcChannel
from packshot_client.client.picture_files import save, to_arrays, to_files
from packshot_client.client.rest_channel import RestChannel
from packshot_client.wire import errors

assert set(packshot_client.__all__) < set(dir(packshot_client)) and issubclass(errors.NotFound, ServingError)
assert {module.MINE for module in (data, models, serving, trainer)} == {True}
files = to_files([np.full((2, 3, 3), 200, np.uint8)])
save(files, ["a.png"])
assert to_arrays(to_files(["a.png"]))[0].shape == (2, 3, 3)
for target in ("localhost:1", "http://localhost:1"):
    with Client(target, retries=0) as client:
        try:
            client.status("m")
        except errors.Unavailable as error:
            print(error.message.split(":")[0])
print(sorted(name for name in sys.modules if name.split(".")[0] in ("data", "models", "serving", "trainer")))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with all that `pip install` copies."""
    lib = tmp_path_factory.mktemp("lib")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(lib)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return lib


def test_it_works_in_a_project_with_such_packages_of_its_own(installed, tmp_path):
    for name in ("data", "models", "serving", "trainer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    (tmp_path / "app.py").write_text(APP)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "no gRPC server can be reached at localhost",
        "no REST server can be reached at http",
        "['data', 'models', 'serving', 'trainer']",
    ]


def test_every_module_of_it_can_be_imported_and_is_the_same_source(installed):
    ours = sorted((installed / "packshot_client").rglob("*.py"))
    for file in ours:
        inside = file.relative_to(installed / "packshot_client")
        source = ROOT / inside if inside.parts[0] == "data" else ROOT / "serving" / inside
        assert file.read_bytes() == source.read_bytes()
    names = [".".join(file.relative_to(installed).with_suffix("").parts) for file in ours]
    code = "import sys\nsys.modules['tensorflow'] = None\n" + "\n".join(f"import {name}" for name in names)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "packshot_client.client.client" in names and not [name for name in names if "export" in name]
