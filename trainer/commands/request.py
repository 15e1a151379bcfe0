"""`packshot request`: ask a running TensorFlow Serving for pictures. Needs no TensorFlow where it runs."""

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
from trainer.commands.options import PATH, VERSION
from trainer.console import CONTEXT, say
from trainer.errors import Refused

ROWS = 16  # pictures asked for at once
GENERATE = "packshot request generate"


class Asked(NamedTuple):
    """A client (`serving.client.client.Client`), and the model the commands are about."""

    client: object
    model: str
    version: int | None
    label: str | None

    @property
    def which(self):
        return {"version": self.version, "label": self.label}

    def output(self, alias, inputs, signature):
        """One output of a signature, by alias."""
        return self.client.predict(self.model, inputs, signature=signature, outputs=[alias], **self.which)[alias]

    def metadata(self):
        return self.client.metadata(self.model, **self.which)

    def classes(self, signatures):
        """The names of the classes, in the order of their numbers, if one of `signatures` answers them; else ()."""
        from serving.wire import class_names

        return self.client.classes(self.model, **self.which) if class_names.SIGNATURE in signatures else ()

    def first_of(self, *names):
        """The first of the signatures `names` that the model has, and all it has. Raises Refused when it has none."""
        have = self.metadata().signatures
        for name in names:
            if name in have:
                return name, have
        raise Refused(f"the model {self.model} has no signature {' or '.join(names)}; it has: {', '.join(have)}")


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
@click.option("--version",       help="Version [default: the newest that is loaded]", metavar="N", type=VERSION)
@click.option("--version-label", help="Version by its label, such as stable", metavar="LABEL")
# fmt: on
@click.pass_context
def main(context, **options):
    """Ask a running TensorFlow Serving: make pictures, send photos through a model, see what is served."""
    context.obj = options


@contextlib.contextmanager
def _asking(context):
    """Connect as the options of the group say, which only now are judged, so that every command has its --help."""
    options = dict(context.obj)
    model, version, label = (options.pop(name) for name in ("model", "version", "version_label"))
    if not model:
        raise Refused("which model is meant? --model NAME goes before the command")
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
""")
@click.option("--seed",       help="Seed of a picture; repeatable", metavar="N", type=click.IntRange(0, 2**62), multiple=True, default=[0])
@click.option("--n",          help="Pictures from each seed on: it and the next", metavar="N", type=click.IntRange(1, 4096), default=1)
@click.option("--label",      help="Category by name, or by number from 0 where none has that name", metavar="NAME")
@click.option("--truncation", help="Below 1: more typical, less varied pictures", metavar="X", type=click.FloatRange(0, 2), default=1.0)
@click.option("--out",        help="Folder for the PNG files", metavar="DIR", type=PATH, default="generated")
# fmt: on
@click.pass_context
def generate(context, seed, n, label, truncation, out):
    """Make one PNG file for each seed. The same seed gives the same picture."""
    import numpy as np
    from tqdm import tqdm

    from data import outputs
    from data.images import encode_png
    from serving.wire import class_names

    seeds = list(dict.fromkeys(first + i for first in seed for i in range(n)))
    with _asking(context) as asked:
        signature, have = asked.first_of("generate_png", "generate")
        knows_classes = "label" in have[signature].inputs
        if label is not None and not knows_classes:
            raise Refused(f"the model {asked.model} was trained without categories; leave --label out")
        classes = asked.classes(have) if knows_classes else ()
        if label is None and knows_classes:
            raise Refused(f"the model {asked.model} knows categories; say which by --label: {class_names.listed(classes)}")
        number = None if label is None else class_names.number(label, classes)
        suffix = "" if number is None else f"-label-{_in_a_name(classes[number] if classes else label)}"
        targets = {one: os.path.join(out, f"seed-{one}{suffix}.png") for one in seeds}
        outputs.check(targets.values(), GENERATE, folder=out)
        with tqdm(total=len(seeds), unit="img", disable=None) as bar:
            for start in range(0, len(seeds), ROWS):
                part = np.array(seeds[start : start + ROWS], np.int64)
                inputs = {"seed": part, "truncation": np.full(len(part), truncation, np.float32)}
                if number is not None:
                    inputs["label"] = np.full(len(part), number, np.int64)
                if signature == "generate_png":
                    contents = asked.output("image_bytes", inputs, signature)
                else:
                    contents = map(encode_png, asked.output("images", inputs, signature))
                for one, content in zip(part, contents, strict=True):
                    outputs.write(targets[one], content, GENERATE)
                    bar.update()
    say(f"{len(seeds)} pictures: {out}")


# fmt: off
@main.command(context_settings=CONTEXT, epilog="""
\b
Example:
  packshot request --server tfs:8500 --model espcn apply photos/ --out larger/
""")
@click.argument("photos", type=PATH)
@click.option("--out",      help="Folder for the PNG files", metavar="DIR", type=PATH, required=True)
@click.option("--parallel", help="Photos under way at once", metavar="N", type=click.IntRange(1, 64), default=4)
@click.option("--as-is",    help="Send the files as they are, not turned upright and not as PNG", is_flag=True)
# fmt: on
@click.pass_context
def apply(context, photos, out, parallel, as_is):
    """Send a photo, or a folder of photos, through a translation or enhancement model on the server.

    A photo that cannot be used is named and left out; the others go on.
    """
    import numpy as np
    from tqdm import tqdm

    from serving.client.picture_files import to_file
    from serving.wire import errors
    from trainer.photos import pairs, told, write

    of_the_photo = (UserError, errors.BadCall, OSError, errors.InvalidArgument, errors.ResourceExhausted, errors.DeadlineExceeded)

    def send(source, target):
        """What is wrong with the photo; None when its picture is written."""
        try:
            inputs = {"image_bytes": np.array([to_file(source, as_is)], object)}
            (content,) = asked.output("image_bytes", inputs, "apply_bytes")
        except of_the_photo as error:
            return error
        return write(target, content)

    with _asking(context) as asked, futures.ThreadPoolExecutor(parallel) as pool:
        work = pairs(photos, out, say)
        asked.first_of("apply_bytes")
        failed = 0
        try:
            results = pool.map(send, *zip(*work, strict=True))
            for (source, _), error in zip(work, tqdm(results, total=len(work), unit="photo", disable=None), strict=True):
                if error is not None:
                    failed += 1
                    say(connection.sentence(told(source, error)))
        finally:
            pool.shutdown(cancel_futures=True)
    say(f"{len(work) - failed} of {len(work)} pictures: {out}")
    if failed == len(work):
        raise Refused("none of the files could be used")


@main.command(context_settings=CONTEXT)
@click.option("--json", "as_json", help="For machines", is_flag=True)
@click.pass_context
def status(context, as_json):
    """The versions of the model and their states. Exit code 1 unless one of them is AVAILABLE.

    Failed and unloaded versions stay listed, as END. Labels are no part of what a server tells.
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
@click.option("--json", "as_json", help="For machines", is_flag=True)
@click.pass_context
def signatures(context, as_json):
    """What the model can be asked: its signatures, with the types and shapes of inputs and outputs, and its categories."""
    with _asking(context) as asked:
        model, version, found = asked.metadata()
        classes = asked.classes(found)
    if as_json:
        described = {
            name: {end: {alias: tensor._asdict() for alias, tensor in tensors.items()} for end, tensors in ends.items()}
            for name, ends in ((name, signature._asdict()) for name, signature in found.items())
        }
        whole = {"model": model, "version": version, "signatures": described, "classes": list(classes)}
        click.echo(json.dumps(whole, indent=2))
        return
    click.echo(f"{model}, version {version}")
    for name, (inputs, outputs) in found.items():
        click.echo(f"\n{name}")
        for arrow, tensors in (("  ", inputs), ("->", outputs)):
            for alias, tensor in tensors.items():
                click.echo(f"  {arrow} {alias}: {tensor.dtype} {_shape(tensor.shape)}")
    if classes:
        click.echo(f"\ncategories, numbered from 0: {', '.join(classes)}")


def _in_a_name(text):
    """Text as a part of a file's name, another for each text (of up to 60 letters)."""
    return re.sub(r"[^\w.-]", lambda found: quote(found[0], safe=""), text)[:60]


def _shape(sizes):
    if sizes is None:
        return "of any rank"
    return "[" + ", ".join("any" if size is None else str(size) for size in sizes) + "]"
