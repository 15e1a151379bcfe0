"""`python -m trainer.task`: train a model of product pictures. What Vertex AI and Colab run; also `packshot train`.

TensorFlow is imported only once there is something to compute, so that `--help` answers at once.
"""

import dataclasses
import json

import click

from data.catalogue import KINDS
from models import catalogue
from trainer.config import (
    PRECISIONS,
    STRATEGIES,
    Measuring,
    RunConfig,
    check_positive,
    data_from_environment,
    from_environment,
    parse_settings,
)
from trainer.errors import Printing, refusing
from trainer.options import MODEL_NAME

CONTEXT = {"show_default": True, "max_content_width": 110}

EXAMPLES = """
\b
Examples:
  # the default model on pictures drawn on the spot; no files, no network
  python -m trainer.task
\b
  # a folder of photos with a subfolder for each category, 64 px, augmentation for small sets
  python -m trainer.task --data folder:photos/train --preset cpu-64 --augment ada --job-dir runs/photos
\b
  # edges -> photo; four times larger pictures
  python -m trainer.task --model pix2pix --data folder:photos/train
  python -m trainer.task --model espcn --preset x4 --data folder:photos/train
\b
  # measure every 10,000 pictures, end after 5 evaluations without a better KID, export the best
  python -m trainer.task --data folder:photos/train --eval-every 10_000 --best kid --patience 5
\b
To go on with a stopped run, repeat its command.
"""


def say(sentence: str) -> None:
    """One line for the user, on standard error."""
    click.echo(sentence, err=True)


class EitherSpelling(Printing, click.Command):
    """Takes --batch_size=8, as Vertex AI passes hyperparameters, for --batch-size 8."""

    def parse_args(self, ctx, args):
        return super().parse_args(ctx, [dashed(word) if word.startswith("--") else word for word in args])


def dashed(word: str) -> str:
    """ "--batch_size=a_b" -> "--batch-size=a_b"."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


@click.command(cls=EitherSpelling, epilog=EXAMPLES, context_settings=CONTEXT)
# fmt: off
@click.option("--model", help="Family, see `packshot families`", metavar="NAME", default="r3gan")
@click.option("--preset", help="Row of the family's table of settings [default: its first]", metavar="NAME")
@click.option("--data", help=f"Where the pictures come from: {', '.join(KINDS)} [default: studio]", metavar="SOURCE")
@click.option(
    "--resolution",
    help="Side of the pictures; picks the preset of that size when there is one",
    metavar="PX",
    type=click.IntRange(8, 2048),
)
@click.option("--batch-size", help="Pictures a step, over all replicas", metavar="N", type=click.IntRange(1))
@click.option(
    "--images",
    help="Length of training, in pictures shown; may grow when a run is resumed",
    metavar="N",
    type=click.IntRange(1),
)
@click.option("--job-dir", help="The run's folder, local or gs:// [default: runs/MODEL-PRESET-DATA]", metavar="DIR")
@click.option("--set", "pairs", help="Any setting of the family, repeatable", metavar="NAME=VALUE", multiple=True)
@click.option("--conditional", help="Tell the model the categories of the data", is_flag=True)
@click.option("--augment", help="What the critic sees", type=click.Choice(catalogue.AUGMENTS), default="none")
@click.option(
    "--fit", help="How a picture becomes square", type=click.Choice(["crop", "pad", "stretch"]), default="crop"
)
@click.option(
    "--view",
    help="What translation starts from",
    type=click.Choice(["auto", "edges", "outline", "mask", "pair"]),
    default="auto",
)
@click.option("--strategy", help="Where to compute", type=click.Choice(STRATEGIES), default="auto")
@click.option("--precision", help="What layers compute in", type=click.Choice(PRECISIONS), default="float32")
@click.option(
    "--seed", help="Decides every random number of the run", metavar="N", type=click.IntRange(0, 2**31 - 1), default=0
)
@click.option(
    "--log-steps",
    help="Steps between two lines of metrics [default: 200 lines a run, 50 steps at most]",
    metavar="N",
    type=click.IntRange(1),
)
@click.option(
    "--sample-images",
    help="Pictures between two sample sheets [default: 20 sheets a run]",
    metavar="N",
    type=click.IntRange(1),
)
@click.option(
    "--checkpoint-minutes",
    help="Minutes between two checkpoints",
    metavar="MIN",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
)
@click.option(
    "--eval-every",
    help="Pictures between two evaluations; 0: none [default: 10 a run at most, so that they cost little; none for short runs]",
    metavar="N",
    type=click.IntRange(0),
)
@click.option(
    "--eval-data", help="Pictures not trained on [default: the split beside train, if there is one]", metavar="SOURCE"
)
@click.option(
    "--eval-count",
    help="Pictures made an evaluation [default: 1,000, of pairs 200, or as many as there are real ones]",
    metavar="N",
    type=click.IntRange(1),
)
@click.option("--features", help="Network that evaluations look through", metavar="SPEC", default="packshot")
@click.option(
    "--best",
    help="Measure that the best checkpoint is kept by, or its beginning; exports the best"
    " [default: kid, feature_distance or psnr_y, by task]",
    metavar="METRIC",
)
@click.option(
    "--patience",
    help="Ends training after so many evaluations without a better one, beyond the error bar; exports the best",
    metavar="N",
    type=click.IntRange(1),
)
@click.option(
    "--steps-per-execution",
    help="Steps TensorFlow takes in one call [default: what suits the family]",
    metavar="N",
    type=click.IntRange(1),
)
@click.option(
    "--export-to",
    help="Folder of exported models [default: AIP_MODEL_DIR, else export/ in the run's folder]",
    metavar="DIR",
)
@click.option("--name", help="Name of the exported model [default: the family's]", metavar="NAME", type=MODEL_NAME)
@click.option("--no-export", help="Leave out the export at the end", is_flag=True)
@click.option(
    "--dry-run", help="Print the resolved configuration and what data was found, as JSON, and stop", is_flag=True
)
# fmt: on
def main(**options):
    """Train a model of product pictures, watch it, and export it for TensorFlow Serving.

    Without options: trains the default generator on `studio`, pictures drawn on the spot. The run's folder receives config.json,
    checkpoints/, metrics.jsonl, tensorboard/, samples/ and export/.
    """
    with refusing():
        run = resolve(options)
    from trainer import loop
    from trainer.rundir import RunDir, default_root

    root = options["job_dir"] or _vertex_root() or default_root(run.model, run.preset, run.data)
    if options["dry_run"]:
        with refusing():
            found = loop.describe_data(run)
        click.echo(json.dumps({"run": json.loads(run.to_json()), "job_dir": root, "data": found}, indent=2))
        return
    cadence = loop.Cadence(
        options["log_steps"], options["sample_images"], options["checkpoint_minutes"], options["steps_per_execution"]
    )
    measuring = Measuring(
        options["eval_every"],
        options["eval_data"],
        options["eval_count"],
        options["features"],
        options["best"],
        options["patience"],
    )
    say(f"run folder: {root}   (watch it: tensorboard --logdir {RunDir(root).tensorboard})")
    loop.train(run, root, cadence, measuring, None if options["no_export"] else _export_to(options, root, run), say)


def resolve(options: dict) -> RunConfig:
    """The run that the options, the environment and the defaults describe. Imports the family, and TensorFlow with it.

    Raises:
        ValueError: an unknown model, preset or setting, or a value out of range.
    """
    data = options["data"] or data_from_environment() or "studio"
    if options["model"] not in catalogue.names():
        catalogue.load(options["model"])
    family = catalogue.load(options["model"])
    changes = parse_settings(options["pairs"], family.Config)
    for name in ("resolution", "batch_size", "images"):
        if options[name] is not None:
            changes[name] = options[name]
    preset = options["preset"] or catalogue.default_preset(family, changes.get("resolution"))
    config = catalogue.configure(family, preset, changes)
    check_positive(config)
    return RunConfig(
        model=options["model"],
        preset=preset,
        data=data,
        fit=options["fit"],
        view=options["view"],
        seed=options["seed"],
        strategy=options["strategy"],
        precision=options["precision"],
        conditional=options["conditional"],
        augment=options["augment"],
        settings=dataclasses.asdict(config),
    )


def _vertex_root():
    """The base output folder of a Vertex AI job, which AIP_MODEL_DIR lies in."""
    model_dir = from_environment("AIP_MODEL_DIR")
    return model_dir.rpartition("/")[0] if model_dir else None


def _export_to(options, root, run):
    from trainer.exporting import split_model_dir
    from trainer.rundir import RunDir

    model_dir = from_environment("AIP_MODEL_DIR")
    if model_dir and not options["export_to"] and not options["name"]:
        return split_model_dir(model_dir)
    return options["export_to"] or model_dir or RunDir(root).exports, options["name"] or run.model


if __name__ == "__main__":
    main()
