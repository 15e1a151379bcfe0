"""Imports go one way; a family is known to nobody; files are named for what they know."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from models import catalogue

ROOT = Path(__file__).parent.parent
PACKAGES = ("data", "models", "serving", "trainer")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FAMILIES = catalogue.names()


def imports(path):
    """Dotted names of our own modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found |= {f"{module(path.parent)}.{node.module or alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES}


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def starts(name, *prefixes):
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


# What models may use of data: values and sentences, but not where examples come from.
FOR_MODELS = ("batch", "colour", "edits", "errors", "facts", "files", "images", "random", "words")


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_go_one_way(path):
    here, used = module(path), imports(path)
    if starts(here, "data"):
        allowed = ("data",)
    elif starts(here, "models"):
        allowed = ("models", *(f"data.{name}" for name in FOR_MODELS))
        used -= {"data"}  # the package, from which one of these is imported
    elif starts(here, "serving"):
        allowed = ("data", "serving")
    else:
        allowed = PACKAGES
    assert all(starts(name, *allowed) for name in used), used
    if starts(here, "models.layers", "models.losses", "models.features"):
        assert not any(starts(name, "models.base", "models.catalogue", "models.tasks") for name in used), used


# The rooms of a house from the ground up: each may use itself and those before it, and what is said behind it of others.
TRAINER = (
    "errors",
    "console",
    "photos",
    "metrics",
    "features",
    "runs",
    "evaluation",
    "tasks",
    "training",
    "rating",
    "enhancing",
    "commands",
    "task",
    "cli",
)
SERVING = {
    "wire": (),
    "client": ("wire",),
    "export": ("wire",),
    "server": ("wire", "export"),
    "deploy": ("wire", "client", "export"),
}


def room(name):
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("path", [path for path in FILES if module(path).startswith("trainer.")], ids=module)
def test_rooms_of_the_trainer_use_those_below(path):
    here = room(module(path).removesuffix(".__init__"))
    used = {room(name) for name in imports(path) if starts(name, "trainer")} - {""}
    if here:
        assert used <= set(TRAINER[: TRAINER.index(here) + 1])


@pytest.mark.parametrize("path", [path for path in FILES if module(path).startswith("serving.")], ids=module)
def test_rooms_of_serving_use_those_below(path):
    here = room(module(path).removesuffix(".__init__"))
    used = {room(name) for name in imports(path) if starts(name, "serving")} - {""}
    if here:
        assert used <= {here, *SERVING[here]}


@pytest.mark.parametrize(
    "path", [path for path in FILES if starts(module(path), "serving.wire", "serving.client")], ids=module
)
def test_a_client_needs_no_tensorflow(path):
    tree = ast.parse(path.read_text())
    used = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in used if name.split(".")[0] in ("tensorflow", "keras")]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_no_family_knows_another_and_nobody_knows_a_family(path):
    families = {f"models.{task}.{name}" for name, task in FAMILIES.items()}
    assert not [name for name in imports(path) if starts(name, *families)]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_family_is_named_only_in_its_own_file(path):
    strings = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {name for name in FAMILIES if name in strings and path.stem != name}
    default = {"r3gan"} if path.name == "train.py" else set()  # the one default has to stand somewhere
    assert named <= default


TASK_NAMES = {"GENERATION": "generation", "TRANSLATION": "translation", "ENHANCEMENT": "enhancement"}


def names_a_task(node):
    """Whether an expression is the name of a task, or holds one, as a tuple or a set does."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return any(map(names_a_task, node.elts))
    if isinstance(node, ast.Constant):
        return node.value in TASK_NAMES.values()
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
    return name in TASK_NAMES


def asks_for_a_task(tree):
    """Lines of comparisons with the name of a task, cases of one, and dicts with one among the keys."""
    for node in ast.walk(tree):
        asked = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            asked = [key for key in node.keys if key]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        if any(map(names_a_task, asked)):
            yield node.lineno


BRANCHING = [path for path in FILES if not starts(module(path), "trainer.tasks", "data.batch")]
BRANCHING += sorted(ROOT.glob("benchmarks/*.py")) + [ROOT / "tests" / "families.py"]


@pytest.mark.parametrize("path", BRANCHING, ids=module)
def test_nobody_asks_which_task_it_is(path):
    """What a task does differently stands in trainer/tasks, its batch in data/batch.py."""
    assert list(asks_for_a_task(ast.parse(path.read_text()))) == []


def test_a_question_for_the_task_is_found():
    asked = ["x == GENERATION", "task in (batch.ENHANCEMENT, 1)", "'translation' != y", "{'enhancement': 1}"]
    assert all(list(asks_for_a_task(ast.parse(line))) == [1] for line in asked)
    assert not list(asks_for_a_task(ast.parse("f(GENERATION, task=ENHANCEMENT)\nx = {'task': 'generation'}")))


def test_no_file_is_named_for_nothing():
    names = {"utils", "util", "common", "helpers", "helper", "misc", "core"}
    assert not [path for path in FILES if path.stem in names]


def test_packages_are_listed():
    listed = set(setup_value(keyword="packages"))
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in FILES}
    assert listed == there | set(CLIENT)


def setup_value(keyword=None, name=None):
    """A literal of setup.py: what a keyword of `setup` has, or a name is given."""
    nodes = list(ast.walk(ast.parse((ROOT / "setup.py").read_text())))
    found = [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == keyword and keyword]
    found += [node.value for node in nodes if isinstance(node, ast.Assign) and node.targets[0].id == name and name]
    return ast.literal_eval(found[0])


CLIENT = setup_value(name="CLIENT")
CLIENT_FILES = [
    ROOT / package / f"{name}.py"
    for installed, package in setup_value(keyword="package_dir").items()
    for name in CLIENT[installed]
]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_relative_imports_are_those_of_the_client_and_reach_nothing_else(path):
    """Modules installed a second time, as packshot_client, must find their neighbours there."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    relative = {file for node in nodes if node.level for file in relatives(path, node)}
    ours = {node.module for node in nodes if not node.level and node.module.split(".")[0] in PACKAGES}
    if path not in CLIENT_FILES:
        assert relative == set()
    elif path.name == "picture_files.py":  # stands on data/, and has two names for it
        assert {file.stem for file in relative} == {"files", "images", "colour"}
        assert ours == {"data", "data.colour", "data.images"}
    else:
        assert ours == set() and relative <= set(CLIENT_FILES)


def relatives(path, node):
    """The files that a relative import names; `..data` of serving/client is data/, where packshot_client has it."""
    parents = [path.parent, path.parent.parent]
    folder = parents[node.level - 1].joinpath(*(node.module or "").split("."))
    if node.module and node.module.split(".")[0] == "data":
        folder = ROOT.joinpath(*node.module.split("."))
    if folder.is_dir():
        return [folder / f"{alias.name}.py" for alias in node.names]
    return [folder.with_suffix(".py")]


QUICK = [
    [
        "-c",
        "import data.catalogue, data.images, data.batch, data.edits, data.photo_files",
    ],
    [
        "-c",
        "import models.catalogue, serving, trainer.runs.config, trainer.cli",
    ],
    [
        "-c",
        "import serving.client.rest_channel, serving.client.picture_files, serving.deploy.canary",
    ],
    ["-m", "trainer.task", "--help"],
    ["-m", "trainer.cli", "--help"],
    ["-m", "trainer.cli", "sample", "--help"],
    ["-m", "trainer.cli", "inspect", "--help"],
    ["-m", "trainer.cli", "enhance", "--help"],
    ["-m", "trainer.cli", "request", "apply", "--help"],
    ["-m", "trainer.cli", "canary", "start", "--help"],
    ["-m", "trainer.cli", "rate", "page", "--help"],
]


@pytest.mark.parametrize("command", QUICK, ids=lambda command: command[1])
def test_importing_and_help_do_not_import_tensorflow(command):
    """A stand-in for tensorflow that refuses to be imported comes first on the path."""
    code = "import sys, runpy\nsys.modules['tensorflow'] = None\n"
    if command[0] == "-c":
        code += command[1]
    else:
        code += f"sys.argv = {['x', *command[2:]]!r}\nrunpy.run_module({command[1]!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def functions(tree, within=None):
    """(class or None, function) for each function and method that is not within a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within, node


@pytest.mark.parametrize("path", FILES, ids=module)
def test_options_past_the_second_parameter_are_named_in_calls(path):
    """A public function takes by place what it needs, and two parameters that have a default at most."""
    for within, function in functions(ast.parse(path.read_text())):
        by_click = any(isinstance(each, ast.Call) for each in function.decorator_list)
        given = function.name == "find_spec" or (
            within and function.name == "examples"
        )  # signatures of importlib, of sources
        if by_click or given or (function.name.startswith("_") and function.name != "__init__"):
            continue
        parameters = function.args.posonlyargs + function.args.args
        places = len(parameters) - (within is not None)  # without self
        assert not function.args.defaults or places <= max(2, places - len(function.args.defaults)), function.name


@pytest.mark.parametrize("path", FILES, ids=module)
def test_docstrings_begin_with_a_noun_or_a_verb(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "-").split()[0]
            assert first not in {"What", "Which", "How", "Whether", "Where", "When", "Why", "Who", "Whose", "From"}
