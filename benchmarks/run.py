"""`python -m benchmarks.run`: measure this machine and write the table of docs/performance.md.

What is compared takes turns (A B C A B C ...), each in a process of its own that stays warm and sleeps while another works, and
the median of the rounds' ratios is given with its range: machines are shared.
"""

import os
import platform
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

from benchmarks import data, memory, serving
from benchmarks.workers import Worker
from data import quiet

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = "| what | ours | beside | ratio | goal |\n|---|---|---|---|---|"
PHOTOS = 600
PRECISIONS = ("float32", "mixed_bfloat16")
PEERS = {  # variants of `benchmarks.peer_steps`, and the precision of ours that each is compared with
    "eager": "float32",
    "channels_last": "float32",
    "channels_last, bf16": "mixed_bfloat16",
    "channels_last, bf16, fused Adam": "mixed_bfloat16",
}


@dataclass(frozen=True)
class Family:
    """Measurements of a family; `goals` are the wanted ratios to some of its peers."""

    title: str
    model: str
    preset: str
    goals: dict
    unit: int = 1  # steps after which the kinds of steps come round again
    together: int = 1  # steps that `fit` takes in one call
    path: str = "bare"  # what of ours is compared with the peers
    view: str = "auto"  # of the rows


FAMILIES = {
    "dcgan": Family("DCGAN-64, batch 64", "dcgan", "64", {"eager": 1.10, "channels_last, bf16": 1.00}),
    "r3gan": Family("R3GAN `cpu-64`, batch 16", "r3gan", "cpu-64", {"channels_last": 1.20}, unit=4),
    "stylegan2": Family("StyleGAN2 `cpu-64`, batch 16", "stylegan2", "cpu-64", {"eager": 1.20}, unit=8),
    "flow": Family("Flow `64`, batch 16", "flow", "64", {"channels_last, bf16": 1.10}),
    "pix2pix": Family("pix2pix-128, batch 4", "pix2pix", "128", {"eager": 1.10, "channels_last, bf16": 1.25}),
    "espcn-x2": Family(
        "ESPCN x2, batch 16", "espcn", "x2", {"channels_last, bf16": 1.10}, unit=8, together=8, path="fit"
    ),
    "espcn-x4": Family(
        "ESPCN x4, batch 16", "espcn", "x4", {"channels_last, bf16": 1.00}, unit=8, together=8, path="fit"
    ),
    "edsr-x2": Family(
        "EDSR x2, batch 16", "edsr", "x2", {"eager": 1.15, "channels_last, bf16": 1.10}, unit=4, together=4
    ),
    "nafnet": Family("NAFNet `cpu`, batch 8", "nafnet", "cpu", {"eager": 1.10}, unit=4, together=4, view="noise:25"),
}
PARTS = (*FAMILIES, "data", "memory", "serving")


def line(what, ours, beside="", ratio="", goal="", *, reached=None) -> str:
    verdict = {None: "", True: ", reached", False: ", **not reached**"}[reached]
    return f"| {what} | {ours} | {beside} | {ratio} | {goal}{verdict} |"


def spread(values, form=".2f") -> str:
    """Median [least .. most]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}} .. {max(values):{form}}]"


def versus(what, ours, beside, goal, seconds=True) -> str:
    """The line of a comparison, from the rounds' values of both: seconds a step, or pictures a second."""
    ratios = [b / a if seconds else a / b for a, b in zip(ours, beside, strict=True)]
    shown = [statistics.median(values) for values in (ours, beside)]
    shown = [f"{value * 1000:,.1f} ms" if seconds else f"{value:,.0f}/s" for value in shown]
    reached = None if goal is None else statistics.median(ratios) >= goal
    return line(what, *shown, f"x{spread(ratios)}", "" if goal is None else f"{goal:.2f}", reached=reached)


def measure_family(name, rounds, seconds) -> list[str]:
    family = FAMILIES[name]
    with ExitStack() as stack:

        def start(maker, *arguments):
            return stack.enter_context(Worker(maker, *arguments))

        described = family.model, family.preset
        ours = {p: start("benchmarks.steps:Ours", *described, p, family.together, family.view) for p in PRECISIONS}
        description = ours["float32"].describe()
        peers = {variant: start("benchmarks.peer_steps:make", description, variant) for variant in PEERS}
        for parameters, difference in peers["eager"].agreement():
            click.echo(f"{name}: {parameters:,} parameters, outputs differ by {difference:.1e} at most", err=True)
            assert difference < 1e-3
        works = {(precision, path): getattr(ours[precision], path) for precision in ours for path in ("bare", "fit")}
        works |= {variant: peer.run for variant, peer in peers.items()}
        for work in works.values():
            work(family.unit)
        steps = family.unit * max(1, round(seconds / family.unit / ours["float32"].bare(family.unit)))
        times, waits = {key: [] for key in works}, {precision: [] for precision in ours}
        for _ in range(rounds):
            for key, work in works.items():
                times[key].append(work(steps))
            for precision in ours:
                waits[precision].append(100 * ours[precision].data_wait())
    lines = []
    for variant, precision in PEERS.items():
        what = f"{family.title}, {precision}: {family.path} against PyTorch {variant}"
        lines.append(versus(what, times[precision, family.path], times[variant], family.goals.get(variant)))
    for precision in ours:
        what = f"{family.title}, {precision}"
        lines.append(versus(f"{what}: `fit` against bare", times[precision, "fit"], times[precision, "bare"], 0.97))
        waited = statistics.median(waits[precision]) < 2
        shown = f"{spread(waits[precision])} %"
        lines.append(line(f"{what}: waiting for data", shown, goal="under 2 %", reached=waited))
    return lines


def measure_data(rounds, seconds) -> Iterator[str]:
    with Worker("benchmarks.data:Cached") as cached:
        batches = max(1, round(seconds * cached.rate(50) / data.BATCH))
        rates = [cached.rate(batches) for _ in range(rounds)]
    cached_goal = {"goal": "50,000/s", "reached": statistics.median(rates) >= 50_000}
    yield line("cached rows, 64 px, flipped, batches of 64", f"{spread(rates, ',.0f')}/s", **cached_goal)
    with tempfile.TemporaryDirectory() as folder:
        data.draw(folder, PHOTOS)
        with Worker("benchmarks.data:Ours", folder) as ours, Worker("benchmarks.data:Loader", folder) as theirs:
            ours.rate(1), theirs.rate(1)
            passes = max(1, round(seconds * ours.rate(1) / PHOTOS))
            turns = [(ours.rate(passes), theirs.rate(passes)) for _ in range(rounds)]
    what = "JPEGs of {}x{} to {} px: a folder against a DataLoader".format(*data.PHOTO, data.SIDE)
    yield versus(what, *zip(*turns, strict=True), 1.0, seconds=False)


def measure_memory() -> list[str]:
    peak = memory.peak()
    return [line("peak memory of the default run", f"{peak:.2f} GB", goal="under 2 GB", reached=peak < 2)]


def measure_serving(rounds, seconds) -> list[str]:
    results = serving.measure(rounds, seconds)
    lines = []
    for name, what, goal in (("small", "a small call", 0.8), ("large", "a call with a reply of 786 KB", 2.5)):
        costs = [1000 * cost for cost in results[name]]
        reached = statistics.median(costs) <= goal
        lines.append(
            line(f"server: {what}, beyond the model", f"{spread(costs)} ms", goal=f"{goal} ms", reached=reached)
        )
    for signature in serving.SIGNATURES:
        session, alone, batched = (results[f"{name} {signature}"] for name in ("session", "alone", "batched"))
        whole = f"server: DCGAN-64 `{signature}`, {serving.CLIENTS} callers, batched"
        lines.append(versus(f"{whole}, against batches of 32 in process", batched, session, 0.6, seconds=False))
        lines.append(versus(f"{whole}, against not batched", batched, alone, 1.8, seconds=False))
    return lines


def measure(part, rounds, seconds) -> Iterable[str]:
    """The lines of one of `PARTS`, as they are measured."""
    if part == "memory":
        return measure_memory()
    if part == "serving":
        return measure_serving(rounds, seconds)
    return measure_data(rounds, seconds) if part == "data" else measure_family(part, rounds, seconds)


def machine() -> str:
    """Processor, cores and versions."""
    name, extras = platform.processor(), []
    if Path("/proc/cpuinfo").exists():
        rows = Path("/proc/cpuinfo").read_text().splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (row.partition(":") for row in rows)}
        name = facts.get("model name", name)
        extras = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    libraries = ", ".join(f"{title} {version(title)}" for title in ("tensorflow", "keras", "torch", "pillow"))
    return f"{' '.join([name, *extras])}, {os.cpu_count()} cores; Python {platform.python_version()}, {libraries}"


@click.command(context_settings={"show_default": True})
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--rounds", default=5, help="Turns each side of a comparison takes", type=click.IntRange(1))
@click.option("--seconds", default=6.0, help="Length of a turn, about", type=click.FloatRange(0, min_open=True))
@click.option("--page", default=str(PAGE), help="The page for a whole table", metavar="FILE")
def main(parts, rounds, seconds, page):
    """Measure PARTS (all, if none is named), print each row as it is measured, and write a whole table into the page."""
    quiet.start()
    lines = [f"{machine()}; {rounds} rounds of turns of about {seconds:g} s.", "", HEAD]
    click.echo("\n".join(lines))
    for part in parts or PARTS:
        click.echo(f"measuring {part}", err=True)
        for row in measure(part, rounds, seconds):
            click.echo(row)
            lines.append(row)
    if not parts:
        measured = "\n".join(lines)
        before, _, rest = Path(page).read_text().partition(BEGIN)
        Path(page).write_text(f"{before}{BEGIN}\n{measured}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
