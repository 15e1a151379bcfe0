"""`packshot request`: requests pictures from a running TensorFlow Serving. Needs no TensorFlow itself."""

import contextlib
import json
import os
import re
from concurrent import futures
from typing import NamedTuple
from urllib.parse import quote

import click

from data.errors import UserError
from trainer.commands import connection
from trainer.commands.options import PATH, VERSION, conditions, named, numbers, passed_over
from trainer.console import CONTEXT, progress, say
from trainer.errors import Refused

ROWS = 16  # pictures in a request
GENERATE = "packshot request generate"
UNKNOWN_WORDS = "unknown_words"  # signature that tells which words of a text the model does not know


class Asked(NamedTuple):
    """A client (`serving.client.client.Client`) and the model that the commands address."""

    client: object
    model: str
    version: int | None
    label: str | None

    @property
    def which(self):
        return {"version": self.version, "label": self.label}

    def output(self, alias, inputs, signature):
        """Returns one output of a signature, by alias."""
        return self.client.predict(self.model, inputs, signature=signature, outputs=[alias], **self.which)[alias]

    def metadata(self):
        return self.client.metadata(self.model, **self.which)

    def values(self, condition, signatures):
        """Returns the names of a condition's values in order of their numbers; () if none of `signatures` answers them."""
        from serving.wire import class_names

        if class_names.signature(condition) not in signatures:
            return ()
        return self.client.classes(self.model, condition=condition, **self.which)

    def lacks(self, have, *names):
        """Returns the error for a model with none of the signatures `names`."""
        return Refused(f"the model {self.model} has no signature {' or '.join(names)}; it has: {', '.join(have)}")

    def numbers(self, signature, given, rows):
        """Returns a column of `rows` rows for each number that the signature takes: as given, or the default. Raises Refused."""
        import numpy as np

        known = signature.taking("number")
        if unknown := [name for name in given if name not in known]:
            raise Refused(
                f"the model {self.model} takes no number {unknown[0]}; it takes: {', '.join(known) or 'none'}"
            )
        values = {name: given.get(name, signature.inputs[name].default) for name in known}
        if missing := [name for name, value in values.items() if value is None]:
            raise Refused(f"the model {self.model} takes a number {missing[0]}; give it by --set {missing[0]}=X")
        return {name: np.full(rows, value, np.float32) for name, value in values.items()}

    def text(self, signature, given, have, rows):
        """Returns (a column of `rows` rows for each text that the signature takes, the words of it that the model does not know).

        Raises Refused.
        """
        import numpy as np

        aliases = signature.taking("text")
        if given is None:
            return {alias: np.full(rows, b"", object) for alias in aliases}, []
        if not aliases:
            raise Refused(f"the model {self.model} is told no words; leave --text out")
        text = np.array([given.encode()], object)
        unknown = (
            self.output("words", {"text": text}, UNKNOWN_WORDS)[0].decode().split() if UNKNOWN_WORDS in have else []
        )
        return {alias: text.repeat(rows) for alias in aliases}, unknown

    def conditions(self, signature, given, have):
        """Returns {name: (number, name of the value)} for each condition of the signature; -1 for optional ones that are not given.

        Raises Refused.
        """
        from data.facts import LABEL, UNKNOWN
        from serving.wire import class_names

        known = sorted(signature.taking("condition"), key=lambda name: name != LABEL)
        for name in given:
            if name not in known:
                if name == LABEL:
                    raise Refused(f"the model {self.model} was trained without classes; leave --label out")
                raise Refused(
                    f"the model {self.model} has no condition {name}; it has: {', '.join(known) or 'nothing'}"
                )
        numbered = {}
        for name in known:
            if name not in given and signature.inputs[name].optional:
                numbered[name] = UNKNOWN, None
                continue
            values = self.values(name, have)
            if name not in given:
                what, option = ("classes", "--label") if name == LABEL else (name, f"--condition {name}=VALUE")
                raise Refused(
                    f"the model {self.model} is conditional on {what}; choose one by {option}: {class_names.listed(values)}"
                )
            number = class_names.number(given[name], values, condition=name)
            numbered[name] = number, values[number] if values else given[name]
        return numbered


# fmt: off
@click.group(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot request --model r3gan generate --seed 1 --seed 2 --out pictures/
  packshot request --server tfs:8500 --model espcn apply photos/ --out larger/
  packshot request --server http://localhost:8501 --model espcn --version 3 signatures
  packshot request --server shop.example:443 --tls --header "authorization: Bearer $TOKEN" --model espcn status
""")
@connection.options
@click.option("--model",         help="Name of the model on the server", metavar="NAME")
@click.option("--version",       help="Version [default: the newest loaded one]", metavar="N", type=VERSION)
@click.option("--version-label", help="Version by its label, such as stable", metavar="LABEL")
# fmt: on
@click.pass_context
def main(context, **options):
    """Make pictures with a running TensorFlow Serving, send photos through a model, or list what is served."""
    context.obj = options


@contextlib.contextmanager
def _asking(context):
    """Connects by the options of the group. They are checked only now, so that --help of each command works without them."""
    options = dict(context.obj)
    model, version, label = (options.pop(name) for name in ("model", "version", "version_label"))
    if not model:
        raise Refused("--model NAME is missing; it goes before the command")
    if version is not None and label is not None:
        raise Refused("give --version or --version-label, not both")
    with connection.connect(**options) as client, connection.answered():
        yield Asked(client, model, version, label)


# fmt: off
@main.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot request --model r3gan generate --seed 7 --n 64 --out pictures/
  packshot request --model r3gan generate --seed 7 --label shoes --truncation 0.7
  packshot request --model text_gan generate --n 8 --text "a red striped mug"
""")
@click.option("--seed",       help="Seed of a picture; repeatable", metavar="N", type=click.IntRange(0, 2**62), multiple=True, default=[0])
@click.option("--n",          help="Pictures per seed: it and the following ones", metavar="N", type=click.IntRange(1, 4096), default=1)
@click.option("--label",      help="Class by name, or by number from 0 if no class has that name", metavar="NAME")
@click.option("--condition", "--attribute", "condition", help="Value of another condition, by name or number; repeatable",
              metavar="NAME=VALUE", multiple=True)
@click.option("--text",       help="What the pictures show, in words, for a model of words", metavar="WORDS")
@click.option("--truncation", help="Below 1: more typical, less varied pictures [default: 1]", metavar="X", type=click.FloatRange(0, 2))
@click.option("--set",        help="A number that the model takes; repeatable", metavar="NAME=X", multiple=True)
@click.option("--out",        help="Folder for the PNG files", metavar="DIR", type=PATH, default="generated")
# fmt: on
@click.pass_context
def generate(context, seed, n, label, condition, text, truncation, out, **options):
    """Make one PNG file for each seed. The same seed gives the same picture."""
    import numpy as np

    from data import outputs
    from data.images import encode_png
    from serving.wire import interface

    seeds = list(dict.fromkeys(first + i for first in seed for i in range(n)))
    with _asking(context) as asked:
        told, knobs = conditions(label, condition), numbers(options["set"], truncation=truncation)
        have = asked.metadata().signatures
        known = interface.inferred(have)
        name = interface.generator(known, files=True) or interface.generator(known)
        if name is None:
            raise asked.lacks(have, "generate_png", "generate")
        signature = known[name]
        (seed_alias,), images = signature.taking("seed"), signature.giving("picture")[0]
        values = asked.conditions(signature, told, have)
        texts, unknown = asked.text(signature, text, have, ROWS)
        if unknown:
            say(passed_over(unknown))
        suffix = "".join(f"-{key}-{_in_a_name(value)}" for key, (_, value) in values.items() if value is not None)
        suffix += f"-{_in_a_name('-'.join(text.split()))}" if text else ""
        targets = {one: os.path.join(out, f"seed-{one}{suffix}.png") for one in seeds}
        outputs.check(targets.values(), GENERATE, folder=out)

        def pictures():
            for start in range(0, len(seeds), ROWS):
                part = np.array(seeds[start : start + ROWS], np.int64)
                inputs = {seed_alias: part} | asked.numbers(signature, knobs, len(part))
                inputs |= {key: np.full(len(part), number, np.int64) for key, (number, _) in values.items()}
                inputs |= {alias: column[: len(part)] for alias, column in texts.items()}
                contents = asked.output(images, inputs, name)
                if not signature.outputs[images].file:
                    contents = map(encode_png, contents)
                yield from zip(part, contents, strict=True)

        for one, content in progress(pictures(), len(seeds), "generating"):
            outputs.write(targets[one], content, GENERATE)
    say(f"{len(seeds)} pictures: {out}")


# fmt: off
@main.command(context_settings=CONTEXT, epilog="""
\b
Example:
  packshot request --server tfs:8500 --model espcn apply photos/ --out larger/
  packshot request --model nafnet apply photos/ --keep logos/ --out better/
""")
@click.argument("photos", type=PATH)
@click.option("--out",      help="Folder for the PNG files", metavar="DIR", type=PATH, required=True)
@click.option("--parallel", help="Photos in flight at once", metavar="N", type=click.IntRange(1, 64), default=4)
@click.option("--as-is",    help="Send the files unchanged: not turned upright, not converted to PNG", is_flag=True)
@click.option("--signature", help="Signature to call", metavar="NAME", default="apply")
@click.option("--input", "others", help="Another input picture, such as a mask: a file, or a folder with one for each photo; repeatable",
              metavar="NAME=PATH", multiple=True)
@click.option("--keep",     help="Mask of what stays as it is, white: a file, or a folder with one per photo", metavar="PATH", type=PATH)
@click.option("--label",    help="Class of the photos, by name or number", metavar="NAME")
@click.option("--condition", help="As --label, of anything else it is told; repeatable", metavar="NAME=VALUE", multiple=True)
@click.option("--set",      help="Any number that the model takes, repeatable", metavar="NAME=X", multiple=True)
# fmt: on
@click.pass_context
def apply(context, photos, out, parallel, as_is, signature, others, keep, label, condition, **options):
    """Send a photo, or a folder of photos, through a model on the server that makes pictures of pictures.

    A photo that cannot be used is named and skipped. With --keep, photos are sent upright and as PNG.
    """
    import numpy as np

    from data import files, images
    from data.keep import put_back, read_mask
    from serving.client.picture_files import to_file
    from serving.wire import errors, interface
    from trainer.photos import pairs, partners, told, write

    of_the_photo = (UserError, errors.BadCall, OSError, errors.InvalidArgument, errors.ResourceExhausted, errors.DeadlineExceeded)

    def send(source, target, mask, *partners):
        """Sends a photo and writes the result. Returns the error of this photo, or None."""
        try:
            contents = [to_file(content, as_is) for content in (source, *partners)]
            photo = images.decode(contents[0]) if keep else None
            kept = read_mask(files.read(mask), photo) if keep else None
            inputs = {alias: np.array([content], object) for alias, content in zip(taking, contents, strict=True)}
            (content,) = asked.output(picture, inputs | settings, name)
            if keep:
                content = images.encode_png(put_back(images.decode(content), photo, kept))
        except of_the_photo as error:
            return error
        return write(target, content)

    with _asking(context) as asked, futures.ThreadPoolExecutor(parallel) as pool:
        if keep and as_is:
            raise Refused("give --keep or --as-is, not both: a mask is of the photo as it is shown")
        work = pairs(photos, out, say)
        have = asked.metadata().signatures
        known = interface.inferred(have)
        name = interface.for_files(known, signature)
        if name is None:
            raise asked.lacks(have, f"{signature}_bytes")
        picture = next(iter(known[name].giving("picture", "mask")), None)
        first, *wanted = known[name].photos() or [None]
        paths = {f"{other}_bytes": path for other, path in named(others, "--input").items()}
        if not first or not picture:
            raise Refused(f"the signature {name} of the model {asked.model} makes no pictures of pictures")
        if set(paths) != set(wanted):
            raise Refused(f"beside the photo, {name} takes: {_inputs(wanted)}; given: {_inputs(paths)}")
        values = asked.conditions(known[name], conditions(label, condition), have)
        settings, taking = asked.numbers(known[name], numbers(options["set"]), 1), [first, *paths]
        settings |= {told_of: np.array([number]) for told_of, (number, _) in values.items()}
        sources = [source for source, _ in work]
        masks = partners(photos, sources, keep) if keep else [None] * len(work)
        others_of = [partners(photos, sources, path) for path in paths.values()]
        failed = 0
        try:
            results = pool.map(send, *zip(*work, strict=True), masks, *others_of)
            for (source, _), error in zip(work, progress(results, len(work), "changing"), strict=True):
                if error is not None:
                    failed += 1
                    say(connection.sentence(told(source, error)))
        finally:
            pool.shutdown(cancel_futures=True)
    say(f"{len(work) - failed} of {len(work)} pictures: {out}")
    if failed == len(work):
        raise Refused("none of the files could be used")


@main.command(context_settings=CONTEXT)
@click.option("--json", "as_json", help="Print JSON", is_flag=True)
@click.pass_context
def status(context, as_json):
    """Show the versions of the model and their states. Exit code 1 unless one of them is AVAILABLE.

    Failed and unloaded versions stay listed as END. A server does not report labels.
    """
    with _asking(context) as asked:
        versions = asked.client.status(asked.model, version=asked.version)
    if as_json:
        click.echo(json.dumps([version._asdict() for version in versions], indent=2))
    for version in () if as_json else versions:
        trouble = "" if version.code == "OK" else f"  {version.code}: {connection.sentence(version.message)}"
        click.echo(f"version {version.version}  {version.state}{trouble}")
    if not any(version.state == "AVAILABLE" for version in versions):
        raise SystemExit(1)


@main.command(context_settings=CONTEXT)
@click.option("--json", "as_json", help="Print JSON", is_flag=True)
@click.pass_context
def signatures(context, as_json):
    """Show the signatures of the model, with the types and shapes of inputs and outputs, and its classes."""
    with _asking(context) as asked:
        model, version, found = asked.metadata()
        classes = asked.values("label", found)
    if as_json:
        described = {
            name: {
                "inputs": {alias: tensor._asdict() for alias, tensor in signature.inputs.items()},
                "outputs": {alias: tensor._asdict() for alias, tensor in signature.outputs.items()},
                "defaults": {alias: value.tolist()[0] for alias, value in signature.defaults.items()},
            }
            for name, signature in found.items()
        }
        whole = {"model": model, "version": version, "signatures": described, "classes": list(classes)}
        click.echo(json.dumps(whole, indent=2))
        return
    click.echo(f"{model}, version {version}")
    for name, (inputs, outputs, _) in found.items():
        click.echo(f"\n{name}")
        for arrow, tensors in (("  ", inputs), ("->", outputs)):
            for alias, tensor in tensors.items():
                click.echo(f"  {arrow} {alias}: {tensor.dtype} {_shape(tensor.shape)}")
    if classes:
        click.echo(f"\nclasses, numbered from 0: {', '.join(classes)}")


def _inputs(aliases):
    return ", ".join(alias.removesuffix("_bytes") for alias in aliases) or "nothing"


def _in_a_name(text):
    """Returns text as a part of a file name, different for each text of up to 60 letters."""
    return re.sub(r"[^\w.-]", lambda found: quote(found[0], safe=""), text)[:60]


def _shape(sizes):
    if sizes is None:
        return "of any rank"
    return "[" + ", ".join("any" if size is None else str(size) for size in sizes) + "]"
