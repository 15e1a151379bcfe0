"""`packshot enhance`: makes photos better, by a model, classic edits, or both."""

import contextlib
import dataclasses
import itertools
import signal
import sys
import time

import click

from trainer.commands.options import PATH, Whole, numbers
from trainer.console import CONTEXT, SECONDS, progress, say
from trainer.errors import Interrupted, Refused, refusing

STREAM = "-"  # standard input or output


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot enhance photos/ --model runs/espcn-x2-train --out better/
  packshot enhance photos/ --model models/espcn/1 --edits white_balance:white --after whiten,crop,square:1600 --out shop/
  packshot enhance photos/ --edits whiten --keep masks/ --out white/ --page white.html
  packshot enhance - --model models/espcn/1 --out - < small.jpg > large.jpg
  packshot enhance scan.jpg --prior denoise --out better/
  packshot enhance scan.jpg --prior inpaint --keep scan-mask.png --out better/
""")
@click.argument("photos", type=PATH)
@click.option("--model",   help="Run or export of a model that enhances; not needed beside --edits", metavar="RUN_OR_EXPORT", type=PATH)
@click.option("--prior",   help="Without a training: fit a network to this one photo; inpaint fills what --keep leaves black",
              type=click.Choice(["denoise", "inpaint", "x2", "x4"]))
@click.option("--prior-steps", help="Of --prior, at most: it ends earlier where the result no longer settles", metavar="N",
              type=Whole(1, 100_000), default=2_000)
@click.option("--best",    help="Of a run: the best checkpoint instead of the newest", is_flag=True)
@click.option("--set",     help="Any number that the model takes, repeatable", metavar="NAME=X", multiple=True)
@click.option("--edits",   help="Edits before the model, such as white_balance,contrast:1.1", metavar="CHAIN")
@click.option("--after",   help="Edits behind the model, such as whiten,crop:0.1,square:1600", metavar="CHAIN")
@click.option("--out",     help="Folder for the results; - for standard output", metavar="DIR", type=PATH, required=True)
@click.option("--format",  help="same: as the photo, where that is one of the others; png where it is not",
              type=click.Choice(["same", "png", "jpeg", "webp", "avif"]), default="same")
@click.option("--quality", help="Of JPEG, WebP and AVIF", metavar="1..100", type=Whole(1, 100), default=95)
@click.option("--keep",    help="Mask of what stays as it is, white: a file, or a folder with one for each photo; written as png",
              metavar="PATH", type=PATH)
@click.option("--tile",    help="Side of the tiles in which large photos pass the model, px; else 1024 px of the result", metavar="PX",
              type=Whole(32, 16384))
@click.option("--watch",   help="Go on with photos that arrive in the folder, until Ctrl-C", is_flag=True)
@click.option("--sheet",   help="PNG or JPEG of small pictures before and after, 100 photos at most", metavar="FILE", type=PATH)
@click.option("--page",    help="HTML page with a slider between before and after for each photo, 100 at most", metavar="FILE", type=PATH)
# fmt: on
def main(
    photos, model, prior, prior_steps, best, edits, after, out, format, quality, keep, tile, watch, sheet, page, **options
):
    """Enhance a photo, a folder of photos, or standard input (-).

    Alpha, orientation and metadata are kept, colours converted to sRGB. A photo that cannot be used is named and skipped. Repeated, the
    command goes on where it stopped: results newer than their photos, made with the same settings, stay. No photo is ever overwritten.
    """
    from data.edits import parse
    from data.photo_files import FORMATS
    from trainer.enhancing.steps import Plan

    with refusing():
        if not (model or prior or edits or after):
            raise Refused("there is nothing to do: give --model, --prior, --edits or --after")
        kind = next((name for name in FORMATS if name.lower() == format), None)
        plan = Plan(parse(edits or ""), parse(after or ""), None, kind, quality, keep is not None)
        settings = _Model(model, best, numbers(options["set"]), tile)
        if prior:
            if model or watch or sheet or page or STREAM in (photos, out):
                raise Refused("--prior takes one photo from a file, and no --model, --watch, --sheet or --page")
            if prior == "inpaint" and not keep:
                raise Refused("--prior inpaint needs --keep MASK, white where the photo stays as it is")
            from trainer.enhancing.prior import Prior

            _prior(photos, out, plan, Prior(prior, prior_steps), keep)
        elif STREAM in (photos, out):
            if keep == STREAM or watch or sheet or page:
                raise Refused("--watch, --sheet, --page and a mask from standard input need files for photos and results")
            _stream(photos, out, plan, settings, keep)
        elif watch and (sheet or page):
            raise Refused("--watch has no end at which --sheet and --page could be written")
        else:
            _files(photos, out, plan, settings, keep, watch=watch, sheet=sheet, page=page)


@dataclasses.dataclass(frozen=True)
class _Model:
    """path: of the run or the export; None for none."""

    path: str | None
    best: bool
    numbers: dict[str, float]
    tile: int | None

    def __post_init__(self):
        if not self.path and (self.best or self.numbers or self.tile):
            raise Refused("--best, --set and --tile are for a model, and there is no --model")

    def find(self):
        """Returns the path of the export, made now if it must be; None for none."""
        if not self.path:
            return None
        from trainer.runs.exporting import find_export

        return find_export(self.path, say, at_best=self.best)

    def settings(self, export):
        """Returns what decides on the model's results."""
        if not export:
            return ()
        from serving.export import offline

        return offline.identity(export), self.numbers

    @contextlib.contextmanager
    def loaded(self, export, plan):
        """The plan with the model."""
        if not export:
            yield plan
            return
        from serving.export import offline

        before, after = offline.edits(export)
        with offline.enhancer(export, self.numbers, tile=self.tile) as enhancer:
            yield dataclasses.replace(plan, model=enhancer, before=plan.before + before, after=after + plan.after)


def _stream(photo, out, plan, model, keep):
    """Enhances one photo to standard output."""
    from data import files
    from trainer.enhancing import steps

    if out != STREAM or files.is_folder(photo):
        raise Refused("standard input and output hold one photo each: use - for both, or a file with --out -")
    content = sys.stdin.buffer.read() if photo == STREAM else files.read(photo)
    with model.loaded(model.find(), plan) as plan:
        steps.weight(content, plan)
        work = steps.prepare(content, plan, mask=files.read(keep) if keep else None)
        format = plan.written(work.photo.format)
        result = steps.finish(steps.enhance(work, plan), plan, format)
    sys.stdout.buffer.write(result)
    sys.stdout.buffer.flush()


def _prior(photo, out, plan, prior, keep):
    """Fits a prior to one photo, and writes the result as it improves."""
    from data import files, outputs
    from data.images import BadPicture
    from trainer.enhancing import steps
    from trainer.enhancing.line import BY
    from trainer.photos import pairs, partners, told

    if files.is_folder(photo):
        raise Refused(f"--prior takes one photo, and {photo} is a folder")
    plan = dataclasses.replace(plan, model=prior)
    [(photo, target)] = pairs(photo, out, say, by=BY, suffix=plan.ending)
    mask = files.read(partners(photo, [photo], keep)[0]) if keep else None
    number = step = 0
    best = written = None

    def write():
        outputs.write(target, steps.finish(best, plan, plan.written(best.photo.format)), BY)

    try:
        content = files.read(photo)
        steps.weight(content, plan)
        results = prior.improved(steps.prepare(content, plan, mask=mask), plan)
        for number, result in enumerate(progress(results, prior.steps, "fitting"), 1):
            if result:
                best, step = result, number
                if written is None or time.monotonic() - written >= SECONDS:
                    write()
                    written = time.monotonic()
    except BadPicture as error:
        raise Refused(told(photo, error)) from error
    except KeyboardInterrupt:
        if best:
            write()
        raise Interrupted(f"stopped at step {number}; {target} holds the result of step {step}", signal.SIGINT) from None
    write()
    say(f"{target}: the result of step {step} of {number}")


def _files(photos, out, plan, model, keep, *, watch, sheet, page):
    """Enhances files into the folder `out`."""
    from data import outputs
    from data.sources.protocol import SourceError, digest
    from trainer.enhancing import pages
    from trainer.enhancing.line import BY, Item, enhanced, up_to_date
    from trainer.enhancing.watch import arriving
    from trainer.photos import pairs, partners, told

    def find(say=lambda sentence: None):
        work = pairs(photos, out, say, by=BY, suffix=plan.ending)
        sources = [photo for photo, _ in work]
        masks = partners(photos, sources, keep) if keep else itertools.repeat(None)
        return [Item(photo, target, mask) for (photo, target), mask in zip(work, masks, strict=False)]

    def found_later():
        with contextlib.suppress(SourceError):  # nothing lies there yet
            return find()
        return []

    def enhance(items, plan):
        """Returns those that could not be made."""
        failed = set()
        for item, error in progress(enhanced(items, plan, by), len(items), "enhancing"):
            if error:
                failed.add(item)
                say(told(item.photo, error))
        return failed

    items = found_later() if watch else find(say)
    reports = [path for path in (sheet, page) if path]
    outputs.check(reports, BY, inputs=(path for item in items for path in item if path))
    encode = outputs.encoder(sheet) if sheet else None
    export = model.find()
    settings = digest(*map(str, (plan.before, plan.after, plan.quality, plan.keep, *model.settings(export))))
    by = f"{BY} {settings[:16]}"
    if watch:
        with model.loaded(export, plan) as plan:
            say(f"watching {photos}; Ctrl-C ends it")
            try:
                for items in arriving(found_later):
                    if items := [item for item in items if not up_to_date(item, by)]:
                        failed = enhance(items, plan)
                        say(f"{len(items) - len(failed)} of {len(items)} pictures: {out}")
            except KeyboardInterrupt:
                raise Interrupted(f"stopped watching {photos}", signal.SIGINT) from None
    left = [item for item in items if not up_to_date(item, by)]
    failed = set()
    if left:
        with model.loaded(export, plan) as plan:
            failed = enhance(left, plan)
    kept, good = len(items) - len(left), [item for item in items if item not in failed]
    say(f"{len(good)} of {len(items)} pictures: {out}" + (f" ({kept:,} were up to date)" if kept else ""))
    if not good:
        raise Refused("none of the files could be used")
    if len(good) > pages.MOST and reports:
        say(f"{' and '.join(reports)}: the first {pages.MOST} of {len(good):,} photos")
    if sheet:
        outputs.write(sheet, encode(pages.sheet(good[: pages.MOST])), BY)
    if page:
        outputs.write(page, pages.page(good[: pages.MOST], f"{photos}, enhanced"), BY)
