"""`packshot inspect`: finds defects in a catalogue of pictures before training."""

import click

from data.catalogue import KINDS
from data.inspection.kinds import DROPPABLE
from data.inspection.kinds import KINDS as FINDINGS
from trainer.commands.options import PATH
from trainer.console import CONTEXT, progress, say
from trainer.errors import Refused, refusing

BY = "packshot inspect"
_SHOWN = 3


# fmt: off
@click.command("inspect", context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot inspect folder:photos
  packshot inspect folder:photos --out report.html --json report.json
\b
  # keep one of each group of copies, drop blurry pictures, and train on the rest
  packshot inspect folder:photos --fix cleaned.txt --drop blurry
  python -m trainer.task --data list:cleaned.txt
""")
@click.argument("data", metavar="DATA")
@click.option("--out",    help="Write an HTML page with the pictures of all findings", metavar="HTML", type=PATH)
@click.option("--json",   "as_json", help="Write a JSON report (described in docs/data.md)", metavar="FILE", type=PATH)
@click.option("--fix",    help="Write a list of pictures to keep, for --data list:FILE; no picture is changed", metavar="FILE", type=PATH)
@click.option("--drop",   help=f"With --fix: also leave out pictures of this kind; repeatable. One of {', '.join(DROPPABLE)}",
              metavar="KIND", type=click.Choice(DROPPABLE), multiple=True)
@click.option("--strict", help="Exit code 1 if there are findings worse than notes", is_flag=True)
# fmt: on
def main(data, out, as_json, fix, drop, strict):
    """Find corrupt files, copies (also across splits), poor photos, overlays and odd formats in a catalogue, with remedies."""
    from data import outputs
    from data.inspection import cleaning, inventory, report, verdict
    from data.inspection.findings import find_defects
    from data.inspection.page import page
    from data.inspection.survey import survey

    with refusing():
        taken = inventory.take(data)
        _check(taken, (out, as_json, fix), fix, drop)
        records = survey(taken, progress)
        found = find_defects(taken, records, progress=progress)
        kept = cleaning.kept(records, found, drop=drop)
        said = verdict.sentences(records, found, len(kept))
        values = report.as_values(taken, records, found, said, len(kept))
        _tell(values, found)
        if as_json:
            outputs.write_json(as_json, values, BY)
            say(f"for machines: {as_json}")
        if out:
            outputs.write(out, page(taken, found, values, progress=progress), BY)
            say(f"page: {out}")
        if fix:
            content, odd = cleaning.cleaned_list(taken.spec, kept, len(records))
            outputs.write(fix, content, BY)
            say(f"{len(kept) - odd} of {len(records)} pictures listed: --data list:{fix}")
            if odd:
                say(f"{verdict.plural(odd, 'picture')} could not be listed: the names hold line breaks")
    if strict and any(finding.severity != "note" for finding in found):
        raise SystemExit(1)


main.help += f" DATA is one of {', '.join(KINDS)}; a folder or list without #split is inspected with all its splits."


def _check(taken, targets, fix, drop):
    from data import outputs
    from data.sources.protocol import split_option

    if fix and not taken.of_files:
        raise Refused(f"--fix lists files, and {taken.spec} has none of its own; use a folder: or list: source")
    if drop and not fix:
        raise Refused("--drop needs --fix")
    inputs = [entry.path for entry, _ in taken.pictures()] if taken.of_files else []
    kind, _, rest = taken.spec.partition(":")
    if kind == "list":
        inputs.append(split_option(rest)[0])
    outputs.check(filter(None, targets), BY, inputs=inputs)


def _tell(values, found):
    from data.inspection.report import shown

    click.echo(values["data"])
    for sentence in values["verdict"]:
        click.echo(f"  {sentence}")
    for kind, count in values["counts"].items():
        if count:
            click.echo(f"\n{FINDINGS[kind].severity}: {FINDINGS[kind].title} ({count:,})")
            for finding in [finding for finding in found if finding.kind == kind][:_SHOWN]:
                names = ", ".join(map(shown, finding.pictures[:_SHOWN])) + (" ..." if len(finding.pictures) > _SHOWN else "")
                click.echo(f"  {names}: {shown(finding.reason)}" if names else f"  {shown(finding.reason)}")
            if count > _SHOWN:
                click.echo(f"  and {count - _SHOWN:,} more")
