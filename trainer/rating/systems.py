"""Systems of a rating and their pictures: exported models and real pictures."""

import contextlib
import os
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import tensorflow as tf

from data import files
from data.errors import UserError
from data.images import BadPicture, decode, encode_png
from data.progress import Progress
from data.quarantine import Quarantine
from serving.export import offline
from serving.export.export import REPORT, report
from serving.export.session import Session, SessionError
from serving.wire.interface import Interface, for_files, generator
from trainer import tasks
from trainer.photos import find
from trainer.rating.page import Content
from trainer.rating.questions import Question, plan

REAL = "real pictures"
APART = 1_000_000  # between the first pictures of consecutive seeds
RATED = 256  # side in px of the targets of models that take pictures of any size


class Model(NamedTuple):
    """An exported version: folder, signatures (of `serving.export.session`), metadata and interface."""

    path: str
    signatures: dict
    metadata: dict
    interface: Interface

    @property
    def configuration(self) -> dict:
        return self.metadata.get("configuration") or {}


@contextlib.contextmanager
def loading():
    """Turns a SessionError, of a model that cannot be loaded or run, into a UserError."""
    try:
        yield
    except SessionError as error:
        raise UserError(str(error)) from error


def load(path: str) -> Model:
    """Loads the exported version at `path`; metadata are {} for exports of other programs. Raises SessionError."""
    metadata = report(path)["metadata"] if tf.io.gfile.exists(f"{path}/{REPORT}") else {}
    with Session(path) as session:
        return Model(path, session.signatures, metadata, offline.interface(path, session))


class Generators:
    """Models that make pictures from noise, of classes if they are conditional. Raises UserError for models that do not compare."""

    def __init__(self, models: Sequence[Model], named: Sequence[str]):
        self.models, self.named = models, named
        self.conditional = ["label" in model.interface[generator(model.interface)].inputs for model in models]
        if len(set(self.conditional)) > 1:
            without = named[self.conditional.index(False)]
            raise UserError(
                f"{named[self.conditional.index(True)]} is conditional and {without} is not; they do not compare"
            )
        self.classes = [list(model.metadata.get("classes") or []) if self.conditional[0] else [""] for model in models]
        for name, classes in zip(named, self.classes, strict=True):
            if not classes:
                raise UserError(f"{name} does not list its classes")
            if set(classes) != set(self.classes[0]):
                raise UserError(
                    f"{named[0]} and {name} have different classes: {_listed(self.classes[0])} and {_listed(classes)}"
                )
        self.topics = sorted(self.classes[0])

    def show(
        self, source, photos: str | None, count: int, *, repeats: int, seed: int, progress: Progress, say
    ) -> tuple[list[Question], Content]:
        """Returns `count` questions with `repeats` of them again, and their pictures.

        `source`, opened, gives the last system real pictures, unless it is None; `photos` are refused. `progress` is handed
        the models (`data.progress`), `say(sentence)` for what the user should know. Raises UserError.
        """
        if photos:
            raise UserError("--photos is for models that take pictures; these make theirs from noise")
        questions = plan(len(self.models) + (source is not None), count, repeats, len(self.topics), seed)
        needed = _needed(questions)
        made = {}
        models = enumerate(zip(self.models, self.classes, strict=True))
        for number, (model, classes) in progress(models, len(self.models), "making"):
            asked = [(side, topic) for side, topic in needed if side.system == number]
            rounds = 1 + max((side.picture for side, _ in asked), default=-1)
            # Without a label the classes take turns, so picture i is of class i % classes.
            drawn = offline.sample(model.path, rounds * len(classes), seed=seed * APART) if rounds else ()
            for side, topic in asked:
                made[side, topic] = drawn[side.picture * len(classes) + classes.index(self.topics[topic])]
        if source is not None:
            asked = [(side, topic) for side, topic in needed if side.system == len(self.models)]
            size = max(map(len, made.values()))
            made |= self._photos(source, asked, size, seed=seed, progress=progress, say=say)
        return questions, Content(self.topics, made, None)

    def _photos(self, source, asked, size, *, seed, progress, say):
        if self.conditional[0]:
            if missing := [name for name in self.topics if name not in source.classes]:
                raise UserError(f"{source.spec} has no pictures of {_listed(missing)}")
        if "image" not in source.keys:
            raise UserError(f"{source.spec} has no single pictures, but: {_listed(sorted(source.keys))}")
        wanted = {topic: 1 + max(side.picture for side, at in asked if at == topic) for _, topic in asked}

        def topic_of(example):
            if not self.conditional[0]:
                return 0
            name = source.classes[example["label"]]
            return self.topics.index(name) if name in self.topics else None

        drawn = draw(source, size, _fit(self.models), wanted, topic_of=topic_of, seed=seed, progress=progress, say=say)
        for topic, examples in drawn.items():
            if len(examples) < wanted[topic]:
                what = f" of {self.topics[topic]}" if self.conditional[0] else ""
                raise UserError(
                    f"{source.spec} has {len(examples)} pictures{what}, and this page needs {wanted[topic]}; use a smaller --n"
                )
        return {(side, topic): drawn[topic][side.picture]["image"] for side, topic in asked}


class Translators:
    """Models that make a picture from a picture. Raises UserError for models that do not compare."""

    def __init__(self, models: Sequence[Model], named: Sequence[str]):
        self.models, self.named = models, named
        kinds = {model.metadata.get("task") for model in models}
        if len(kinds) > 1:
            tasks_of = ", ".join(
                f"{name} {model.metadata.get('task')}" for name, model in zip(named, models, strict=True)
            )
            raise UserError(f"the models have different tasks: {tasks_of}")
        self.task = kinds.pop()

    def show(
        self, source, photos: str | None, count: int, *, repeats: int, seed: int, progress: Progress, say
    ) -> tuple[list[Question], Content]:
        """Returns questions and pictures as `Generators.show`. The inputs are from the folder `photos`, or made from the pictures of
        `source`, whose targets are the last system.
        """
        if bool(photos) == (source is not None):
            raise UserError(
                "these models make pictures from pictures: give their inputs by --data or by --photos, not by both"
            )
        systems = len(self.models) + (source is not None)
        topics = -(-count // (systems * (systems - 1) // 2))  # so that no question occurs twice by chance
        questions = plan(systems, count, repeats, topics, seed)
        if photos:
            sources = self._photos(photos, topics, seed, say)
        else:
            sources, targets = self._pairs(source, topics, seed=seed, progress=progress, say=say)
        needed = _needed(questions)
        made = {}
        models = enumerate(zip(self.models, self.named, strict=True))
        for number, (model, name) in progress(models, len(self.models), "making"):
            asked = [(side, topic) for side, topic in needed if side.system == number]
            results = offline.apply(model.path, (encode_png(sources[topic]) for _, topic in asked))
            for (side, topic), result in zip(asked, results, strict=True):
                if isinstance(result, Exception):
                    height, width, _ = sources[topic].shape
                    raise UserError(f"{name} could not use a picture of {width}x{height} px: {result}")
                made[side, topic] = decode(result)
        if source is not None:
            made |= {(side, at): targets[at] for side, at in needed if side.system == len(self.models)}
        return questions, Content([""] * topics, made, sources)

    def _pairs(self, source, count, *, seed, progress, say):
        """`count` (sources, targets), drawn from an opened source and made into pairs as the models' task does."""
        if self.task is None:
            raise UserError("--data needs models with a task in their metadata; for others use --photos")
        task, side = tasks.of(self.task), max(self._sides(), default=RATED)
        size, view = task.rated_view(side, self.models[0].configuration.get("view", "auto"), self._setting)
        view.check(source.keys)
        examples = draw(
            source, size, _fit(self.models), {0: count}, topic_of=lambda _: 0, seed=seed, progress=progress, say=say
        )[0]
        if len(examples) < count:
            raise UserError(
                f"{source.spec} has {len(examples)} pictures, and this page needs {count}; use a smaller --n"
            )
        rows = [view.rows(example)[0] for example in examples]
        if drawn := getattr(view, "drawn", None):
            rows = [row | {"low": drawn.numpy(row["high"], 0, number)} for number, row in enumerate(rows)]
        return [row[task.source] for row in rows], [row[task.target] for row in rows]

    def _photos(self, folder, count, seed, say):
        """Draws `count` photos from a folder, made square if a model takes one size only."""
        root, names = find(folder, say)
        paths = [os.path.join(root, name) for name in names]
        random.Random(seed).shuffle(paths)
        size = max(self._sides(), default=None)
        drawn = []
        for path in paths:
            if len(drawn) == count:
                break
            try:
                drawn.append(decode(files.read(path), size, fit=_fit(self.models)))
            except BadPicture as error:
                say(f"{path}: {error}")
        if len(drawn) < count:
            raise UserError(
                f"{folder} holds {len(drawn)} usable photos, and this page needs {count}; use a smaller --n"
            )
        return drawn

    def _sides(self):
        """Returns the side of the pictures of each model that takes one size only."""
        shapes = (
            model.signatures["apply"].inputs["images"].shape for model in self.models if "apply" in model.signatures
        )
        return [shape[1] for shape in shapes if shape and shape[1]]

    def _setting(self, name):
        values = {model.configuration.get("settings", {}).get(name) for model in self.models}
        if len(values) > 1 or None in values:
            raise UserError(f"--data needs models that were trained with one {name}; for others use --photos")
        return values.pop()


def together(models: Sequence[Model], named: Sequence[str]) -> Generators | Translators:
    """Returns the models as systems of one kind. Raises UserError for mixed kinds, and for models of neither kind."""
    kinds = []
    for model, name in zip(models, named, strict=True):
        applies = "apply_bytes" if for_files(model.interface, "apply") else None
        kind = "generate" if generator(model.interface) else applies
        if kind is None:
            raise UserError(
                f"{name} has neither the signature generate nor apply_bytes; it has: {_listed(sorted(model.signatures))}"
            )
        kinds.append(kind)
    if len(set(kinds)) > 1:
        maker, other = named[kinds.index("generate")], named[kinds.index("apply_bytes")]
        raise UserError(f"{maker} makes pictures from noise and {other} from pictures; compare models of one task")
    return (Generators if kinds[0] == "generate" else Translators)(models, named)


def draw(
    source, size, fit, wanted: dict[int, int], *, topic_of, seed: int, progress: Progress, say
) -> dict[int, list[dict]]:
    """Up to `wanted[topic]` examples of each topic, drawn evenly from all of an opened source (reservoir sampling, Vitter 1985).

    Reads every example once. `topic_of(example)` gives a topic or None.
    """
    chance, seen = random.Random(seed), dict.fromkeys(wanted, 0)
    drawn = {topic: [] for topic in wanted}
    quarantine = Quarantine()
    quarantine.extend(source.left_out)
    for example in progress(source.examples(size, fit, quarantine), source.count, "reading"):
        topic = topic_of(example)
        if topic not in wanted:
            continue
        seen[topic] += 1
        if len(drawn[topic]) < wanted[topic]:
            drawn[topic].append(example)
        elif (place := chance.randrange(seen[topic])) < wanted[topic]:
            drawn[topic][place] = example
    quarantine.tell(say)
    for examples in drawn.values():
        chance.shuffle(examples)
    return drawn


def _needed(questions: Iterable[Question]):
    """Returns every (side, topic) once."""
    return dict.fromkeys((side, question.topic) for question in questions for side in (question.left, question.right))


def _fit(models):
    return models[0].configuration.get("fit", "crop")


def _listed(words):
    return ", ".join(words)
