"""What the documents name is there: families, presets, files, links, commands and options."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import click
import pytest

from data.batch import TASKS
from models import catalogue
from serving.server import flags
from trainer import cli

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FAMILIES = catalogue.names()
SERVER = {
    "--help",
    *(f"--{field.name}" for field in dataclasses.fields(flags.Flags)),
    *(f"--{name}" for name in flags._OTHERS),
}
OPTION = re.compile(r"--?[a-z][\w-]*")
PACKAGES = ("data", "models", "serving", "trainer", "benchmarks", "tests")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def split(text):
    """(prose with its inline code, the lines of its code blocks)."""
    prose, code, fenced, before = [], [], False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or (line.startswith("    ") and (before == "" or (code and code[-1] == before))):
            code.append(line)
        else:
            prose.append(line)
        before = line
    return "\n".join(prose), code


def inline(text):
    """What stands in backticks in prose, on one line."""
    return [" ".join(found.split()) for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", split(text)[0])]


def commands(text):
    """The command lines in a document, as lists of words, without comments and the second half of pipes."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(split(text)[1]))
    for line in [*joined.splitlines(), *inline(text)]:
        for part in re.split(r"\s(?:&&|\||;|&)(?:\s|$)", line):
            words = re.split(r"\s+", re.sub(r"(^|\s)#.*", "", part).strip())
            words = words[sum("=" in word and not word.startswith("-") for word in words[:2]) :] if words else []
            if words[:1] == ["packshot"]:
                yield words
            elif words[:2] == ["python", "-m"] and words[2] == "trainer.task":
                yield ["packshot", "train", *words[3:]]
            elif words[:2] == ["python", "-m"] and words[2].split(".")[0] in PACKAGES:
                yield words[2:]


def wrong(words):
    """What is wrong with a command line: a module or a word that is no command, or an option that it has not."""
    if words[0] != "packshot":
        yield from wrong_with_module(*words)
        return
    command, path = cli.main, "packshot"
    for word in words[1:]:
        if option := OPTION.match(word):
            if option[0] not in options(command):
                yield f"{path} has no {option[0]}"
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", word):
            if word in command.commands:
                command, path = command.commands[word], f"{path} {word}"
            elif command is cli.main:
                yield f"{path} has no command {word}"
                return


def wrong_with_module(name, *words):
    if not importlib.util.find_spec(name):
        yield f"there is no module {name}"
        return
    known = SERVER if name == "serving.server" else written_options(ROOT / f"{name.replace('.', '/')}.py")
    yield from (
        f"{name} has no {option[0]}" for word in words if (option := OPTION.match(word)) and option[0] not in known
    )


def written_options(path):
    """The options that a script names in its code."""
    return {"--help", *re.findall(r'"(--[a-z][\w-]*)"', path.read_text())}


def options(command):
    return {"--help"} | {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def everything(command):
    """The options of a command and of those below it."""
    return options(command).union(*(everything(inner) for inner in getattr(command, "commands", {}).values()))


def anchors(path):
    """The anchors that a document's headings make on GitHub."""
    seen, made = {}, set()
    for line in split(path.read_text())[0].splitlines():
        if heading := re.match(r"#+\s+(.*)", line):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            count = seen[name] = seen.get(name, -1) + 1
            made.add(f"{name}-{count}" if count else name)
    return made


def test_the_readme_lists_every_family_with_its_task_and_paper():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|.*\| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {name: task for name, task, _ in rows} == FAMILIES and len(rows) == len(FAMILIES)
    for name, task, paper in rows:
        number, link = re.fullmatch(r"\[([^\]]+)\]\(([^)]+)\)", paper).groups()
        assert link == f"https://arxiv.org/abs/{number}"
        assert f"arXiv {number}" in " ".join((ROOT / "models" / task / f"{name}.py").read_text().split()), name


@pytest.mark.parametrize("task", TASKS)
def test_the_page_of_a_task_tells_of_each_of_its_families(task):
    told = inline((ROOT / "docs" / f"{task}.md").read_text())
    assert [name for name, of in FAMILIES.items() if of == task and name not in told] == []


def test_benchmarks_are_of_presets_that_exist():
    from benchmarks.run import FAMILIES as MEASURED

    lacking = [name for name, one in MEASURED.items() if one.preset not in catalogue.load(one.model).PRESETS]
    assert MEASURED and lacking == []


@each_document
def test_links_lead_somewhere(path):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", split(path.read_text())[0]):
        if re.match(r"https?:|mailto:", link):
            continue
        place, _, anchor = link.partition("#")
        target = path.parent / place if place else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@each_document
def test_files_in_backticks_exist(path):
    """`trainer/console.py`; <name> and NAME stand for anything."""
    named = [
        word
        for code in inline(path.read_text())
        for word in code.split()
        if re.fullmatch(r"[\w./<>*-]+/[\w<>*-]+\.py", word)
    ]
    gone = [name for name in named if not list(ROOT.glob(re.sub(r"<\w+>|[A-Z]{3,}", "*", name)))]
    assert gone == []


@each_document
def test_commands_and_their_options_exist(path):
    text = path.read_text()
    assert [f"{' '.join(words)}: {fault}" for words in commands(text) for fault in wrong(words)] == []


@each_document
def test_options_in_backticks_exist(path):
    """An option on its own is of some command, script or server, or a setting of a family."""
    known = everything(cli.main) | SERVER
    known = known.union(*(written_options(script) for script in ROOT.glob("benchmarks/*.py")))
    for name in FAMILIES:
        known |= {f"--{field.name}" for field in dataclasses.fields(catalogue.load(name).Config)}
    named = [
        word
        for code in inline(path.read_text())
        if code.startswith("--")
        for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)
    ]
    assert sorted(set(named) - known) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("    packshot trian --images 3", "packshot has no command trian"),
        ("    packshot apply x y \\\n      --to z  # out", "packshot apply has no --to"),
        ("`python -m trainer.task --imagse 3`", "packshot train has no --imagse"),
        ("```\nX=1 packshot rate page a | packshot bundle --n 3\n```", "packshot bundle has no --n"),
        ("    python -m serving.server --ports=8500 &", "serving.server has no --ports"),
        ("    python -m benchmarks.walk", "there is no module benchmarks.walk"),
    ],
)
def test_a_slip_in_a_command_is_found(text, fault):
    assert [found for words in commands(text) for found in wrong(words)] == [fault]


def test_anchors_are_made_as_on_github(tmp_path):
    (tmp_path / "x.md").write_text("# A `b`: c, d_e\n\n## [One](two) two\n\n## One two\n\n    # no heading\n")
    assert anchors(tmp_path / "x.md") == {"a-b-c-d_e", "one-two", "one-two-1"}
