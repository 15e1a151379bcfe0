"""`python -m benchmarks.run`: measure this machine and write the table of docs/performance.md.

What is compared takes turns (A B A B ...), and the median of the rounds' ratios is given with its range: machines are shared.
"""

import io
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from data import pipeline
from data.batch import GENERATION
from data.cache import Rows
from data.quarantine import Quarantine
from data.sources.folder import Folder
from data.sources.studio import Studio
from models import catalogue

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def seconds(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def spread(values) -> str:
    """Median [least .. most]."""
    return f"{statistics.median(values):.2f} [{min(values):.2f} .. {max(values):.2f}]"


def drawn(count, size):
    """Rows of `count` drawn products, uint8."""
    pictures = [example["image"] for example in Studio(count).examples(size)]
    return Rows({"image": np.stack(pictures)}, (), in_memory=True)


def fit_against_bare(name, preset, steps, rounds):
    """Rounds of (bare seconds / fit seconds) for as many steps, and the shares of fit's time spent waiting for data."""
    family = catalogue.load(name)
    model = family.Model(family.PRESETS[preset])
    rows = drawn(512, model.config.resolution)
    rows_per_step = model.config.batch_size * model.rows_per_step
    arguments = dict(batch_size=rows_per_step, seed=0, position=0, augment=("flip",))
    made, waited = pipeline.training(rows, GENERATION, tf.distribute.get_strategy(), **arguments)
    fixed = next(iter(made))
    step = tf.function(model.train_step)
    model.compile(jit_compile=False)

    def bare():
        for _ in range(steps):
            logs = step(fixed)
        return float(logs["generator_loss"])

    def fit():
        model.fit(made, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)

    bare(), fit()
    ratios, waits = [], []
    for _ in range(rounds):
        alone = seconds(bare)
        waited()
        ratios.append(alone / seconds(fit))
        waits.append(100 * waited())
    return ratios, waits


def pipeline_rate(rounds):
    """Thousands of 64 px pictures a second from the cached rows, flipped, as float32 batches of 64."""
    made = iter(pipeline.dataset(drawn(4096, 64), GENERATION, batch_size=64, seed=0, augment=("flip",)))
    next(made)
    return [300 * 64 / 1000 / seconds(lambda: [next(made) for _ in range(300)]) for _ in range(rounds)]


def decode_against_pillow(rounds, count=600):
    """Rounds of (one process' Pillow loop / our folder source) seconds for JPEG photos of 400x533 to 64 px."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number, example in enumerate(Studio(count).examples(400)):
            noisy = np.clip(example["image"] + random.normal(0, 8, (400, 400, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).resize((400, 533)).save(Path(folder) / f"{number:04d}.jpg", quality=90)

        def plain():
            for path in sorted(Path(folder).iterdir()):
                image = Image.open(io.BytesIO(path.read_bytes()))
                image.draft("RGB", (64, 64))
                np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))

        def ours():
            for _ in Folder(folder).examples(64, "crop", Quarantine()):
                pass

        plain(), ours()
        return [seconds(plain) / seconds(ours) for _ in range(rounds)]


def peak_memory():
    """GB of the default run, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainer.task", "--images", "2000", "--job-dir", f"{folder}/run"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def machine() -> str:
    """Processor, cores and versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        cores = sum(line.startswith("processor") for line in lines)
    except (OSError, StopIteration):
        model, cores = platform.processor(), "?"
    return f"{model}, {cores} cores, Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}"


@click.command()
@click.option(
    "--rounds", default=5, show_default=True, help="Turns each side of a comparison takes", type=click.IntRange(1)
)
def main(rounds):
    """Measure, print the table, and write it into docs/performance.md."""
    dcgan, dcgan_waits = fit_against_bare("dcgan", "64", 8, rounds)
    r3gan, r3gan_waits = fit_against_bare("r3gan", "cpu-64", 40, rounds)
    table = [
        "| what | measured | goal |",
        "|---|---|---|",
        f"| `fit` against the bare step, DCGAN-64, batch 64 | x{spread(dcgan)} | 0.97 |",
        f"| `fit` against the bare step, R3GAN `cpu-64`, batch 16 | x{spread(r3gan)} | 0.97 |",
        f"| time spent waiting for data, DCGAN-64 | {spread(dcgan_waits)} % | under 2 % |",
        f"| time spent waiting for data, R3GAN `cpu-64` | {spread(r3gan_waits)} % | under 2 % |",
        f"| cached pipeline, 64 px, flipped, thousand pictures a second | {spread(pipeline_rate(rounds))} | 50 |",
        f"| decoding a folder against one process with Pillow's draft mode | x{spread(decode_against_pillow(rounds))} | - |",
        f"| peak memory of the default run | {peak_memory():.2f} GB | 2 GB |",
    ]
    text = "\n".join([machine(), "", *table])
    click.echo(text)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
