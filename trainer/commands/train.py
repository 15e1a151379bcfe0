"""`packshot train` and `python -m trainer.task`, the command of Vertex AI and Colab: trains a model of product pictures.

TensorFlow is imported only when something is computed, so that `--help` is fast.
"""

import dataclasses
import difflib
import itertools
import json

import click

from data.catalogue import KINDS
from data.errors import UserError
from data.facts import LABEL
from models import catalogue
from trainer.commands.options import MODEL_NAME, PATH, Number, Whole
from trainer.console import CONTEXT, say
from trainer.errors import Printing, refusing
from trainer.runs.config import (
    PRECISIONS,
    STRATEGIES,
    WORDS,
    EvaluationOptions,
    RunConfig,
    data_from_environment,
    from_environment,
    parse_settings,
)

EXAMPLES = """
\b
Examples:
  # the default model on generated pictures; no files, no network
  python -m trainer.task
\b
  # a folder of photos with a subfolder for each class, 64 px, augmentation for small sets
  python -m trainer.task --data folder:photos/train --preset cpu-64 --augment ada --job-dir runs/photos
\b
  # edges -> photo; four times larger pictures
  python -m trainer.task --model pix2pix --data folder:photos/train
  python -m trainer.task --model espcn --preset x4 --data folder:photos/train
\b
  # evaluate every 10,000 pictures, stop after 5 evaluations without a better KID, export the best
  python -m trainer.task --data folder:photos/train --eval-every 10_000 --best kid --patience 5
\b
To resume a stopped run, repeat its command.
"""


class AsVertexWrites(Printing, click.Command):
    """Accepts hyperparameters as Vertex AI passes them: --batch_size=8 for --batch-size 8, --conditional=True for --conditional, and
    --learning_rate=0.001, which is not an option, for --set learning_rate=0.001.
    """

    def parse_args(self, ctx, args):
        options = {name: option for option in self.get_params(ctx) for name in (*option.opts, *option.secondary_opts)}
        words, rest = [], iter(args)
        for word in rest:
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            option = options.get(name)
            if not name.startswith("--") or name == "--":
                words.append(word)
            elif option is None:
                ctx.meta.setdefault(SETTINGS, []).append((name, value if equals else next(rest, None)))
            elif option.is_flag and equals:
                words += _flag(option, name, value, ctx)
            elif option.is_flag or equals:
                words.append(name + equals + value)
            else:
                words += [name, *itertools.islice(rest, 1)]
        return super().parse_args(ctx, words)


SETTINGS = "trainer.commands.train.settings"  # words written as options that are not: [(name, value), ...]


def _flag(option, name, value, ctx):
    """Returns the words for a flag with a value; none for a flag that is false without being named."""
    if value.lower() not in WORDS:
        raise click.BadOptionUsage(name, f"{name} takes true or false, not {value!r}", ctx)
    if WORDS[value.lower()]:
        return [name]
    return [other for other in (*option.opts, *option.secondary_opts) if other != name and option.secondary_opts]


# fmt: off
@click.command(cls=AsVertexWrites, epilog=EXAMPLES, context_settings=CONTEXT)
# Data
@click.option("--data",                help=f"Source of the pictures: {', '.join(KINDS)} [default: studio]", metavar="SOURCE")
@click.option("--fit",                 help="Way to make pictures square", type=click.Choice(["crop", "pad", "stretch"]), default="crop")
@click.option("--view",                help="Source pictures. Translation: edges, outline, mask or pair. Enhancement: bicubic, photo, or a recipe such as noise:25 or blur+jpeg:40", metavar="NAME", default="auto")
@click.option("--mirror/--no-mirror",  help="Also show pictures mirrored, and for enhancement turned; turn off to learn lettering (--augment ada mirrors what the critic sees in any case)", default=True)
@click.option("--accept-new-data",     help="Resume although the pictures have changed since the run began; noted in its record.json", is_flag=True)
# Model
@click.option("--model",               help="Family, see `packshot families`", metavar="NAME", default="r3gan")
@click.option("--preset",              help="Row of the family's table of settings [default: the first behind tiny]", metavar="NAME")
@click.option("--resolution",          help="Side of the pictures; picks the preset of that size when there is one", metavar="PX", type=Whole(8, 2048))
@click.option("--conditional",         help="Tell the model the categories of the data", is_flag=True)
@click.option("--condition", "conditions", help="Tell the model something else that the data know of their pictures, such as colour; repeatable", metavar="NAME", multiple=True)
@click.option("--init",                help="Begin with the weights of another run, of all parts that both have or of one: RUN#network", metavar="RUN", type=PATH)
@click.option("--freeze-critic",       help="With --init: leave the first N layers of the critic, counted from the picture, as they are", metavar="N", type=Whole(0), default=0)
@click.option("--lora",                help="With --init: train the network by changes of its kernels of this rank, for a small catalogue; 0: the kernels themselves", metavar="RANK", type=Whole(0), default=0)
@click.option("--parent",              help="Run whose networks the model works with, where its family wants some; copied into the run's folder", metavar="RUN", type=PATH)
@click.option("--set", "pairs",        help="Any setting of the family, repeatable", metavar="NAME=VALUE", multiple=True)
# Training
@click.option("--batch-size",          help="Pictures per step, over all replicas", metavar="N", type=Whole(1))
@click.option("--images",              help="Length of training in pictures shown; may grow when a run is resumed", metavar="N", type=Whole(1))
@click.option("--augment",             help="Augmentation of the pictures that the critic sees", type=click.Choice(catalogue.AUGMENTS), default="none")
@click.option("--seed",                help="Seed of all random numbers of the run", metavar="N", type=Whole(0, 2**31 - 1), default=0)
@click.option("--strategy",            help="Distribution strategy", type=click.Choice(STRATEGIES), default="auto")
@click.option("--precision", help="Precision of the layers; auto: mixed_bfloat16 if it is measured to be faster at the start of the run, else float32", type=click.Choice([*PRECISIONS, "auto"]), default="float32")
@click.option("--steps-per-execution", help="Training steps in one TensorFlow call [default: by family]", metavar="N", type=Whole(1))
# Measuring
@click.option("--eval-every",          help="Pictures between two evaluations; 0: none [default: at most 10 evaluations per run; none for short runs]", metavar="N", type=Whole(0))
@click.option("--eval-data",           help="Held-out pictures [default: the sibling split, if there is one]", metavar="SOURCE")
@click.option("--eval-count",          help="Pictures made per evaluation [default: 1,000, or 200 pairs; at most as many as there are real ones]", metavar="N", type=Whole(1))
@click.option("--features",            help="Feature network of evaluations", metavar="SPEC", default="packshot")
@click.option("--best",                help="Measure that selects the best checkpoint, or the beginning of its name; exports the best [default: kid, feature_distance, psnr_y or psnr_rgb, by task]", metavar="METRIC")
@click.option("--patience",            help="Evaluations without improvement beyond the error bar after which training stops; exports the best", metavar="N", type=Whole(1))
@click.option("--log-steps",           help="Steps between two lines of metrics [default: 200 lines per run, at most 50 steps]", metavar="N", type=Whole(1))
@click.option("--sample-images",       help="Pictures between two sample grids [default: 20 grids per run]", metavar="N", type=Whole(1))
# Output
@click.option("--job-dir",             help="The run's folder, local or gs:// [default: runs/MODEL-PRESET-DATA]", metavar="DIR", type=PATH)
@click.option("--checkpoint-minutes",  help="Minutes between two checkpoints", metavar="MIN", type=Number(0, min_open=True), default=5.0)
@click.option("--export-to",           help="Folder of exported models [default: AIP_MODEL_DIR, else export/ in the run's folder]", metavar="DIR", type=PATH)
@click.option("--name",                help="Name of the exported model [default: the family's]", metavar="NAME", type=MODEL_NAME)
@click.option("--no-export",           help="Do not export at the end", is_flag=True)
@click.option("--dry-run",             help="Print the resolved configuration and the data found as JSON, and stop", is_flag=True)
# fmt: on
def main(**options):
    """Train a model of product pictures, evaluate it, and export it for TensorFlow Serving.

    Without options: trains the default generator on `studio`, a source of generated pictures. The run's folder holds config.json,
    checkpoints/, metrics.jsonl, tensorboard/, samples/ and export/.
    """
    with refusing():
        run = resolve(options, click.get_current_context().meta.get(SETTINGS, []))
    from trainer.runs.folder import RunDir, default_root
    from trainer.training import loop

    evaluation_options = EvaluationOptions(
        every=options["eval_every"],
        data=options["eval_data"],
        count=options["eval_count"],
        features=options["features"],
        best=options["best"],
        patience=options["patience"],
    )
    with refusing():
        root = options["job_dir"] or _vertex_root() or default_root(run.model, run.preset, run.data)
        folder, export_to = RunDir(root), _export_to(options, root, run)
        if options["dry_run"]:
            run, found = loop.describe(
                run,
                folder,
                evaluation_options=evaluation_options,
                accept_new_data=options["accept_new_data"],
                say=say,
            )
            click.echo(json.dumps({"run": json.loads(run.to_json()), "job_dir": root, "data": found}, indent=2))
            return
    loop.train(
        run,
        folder,
        cadence=loop.Cadence(
            log_steps=options["log_steps"],
            sample_images=options["sample_images"],
            checkpoint_minutes=options["checkpoint_minutes"],
            steps_per_execution=options["steps_per_execution"],
        ),
        evaluation_options=evaluation_options,
        export_to=None if options["no_export"] else export_to,
        accept_new_data=options["accept_new_data"],
        say=say,
    )


def resolve(options: dict, written_as_options=()) -> RunConfig:
    """Resolves options, environment and defaults into a run. Imports the family, and TensorFlow with it.

    Args:
        written_as_options: (name, value) of words such as --learning-rate=0.001, which are settings of the family or mistakes.

    Raises:
        ValueError: an unknown model, preset or setting, or a value out of range.
        click.NoSuchOption: a word that is neither an option nor a setting.
    """
    data = options["data"] or data_from_environment() or "studio"
    family = catalogue.load(options["model"])
    _check_meaning(options, family)
    pairs = [*options["pairs"], *_settings(written_as_options, family)]
    changes = parse_settings(pairs, family.Config)
    for name in ("resolution", "batch_size", "images"):
        if options[name] is not None:
            changes[name] = options[name]
    preset = options["preset"] or catalogue.default_preset(family, changes.get("resolution"))
    config = catalogue.configure(family, preset, changes)
    return RunConfig(
        model=options["model"],
        preset=preset,
        data=data,
        fit=options["fit"],
        view=options["view"],
        seed=options["seed"],
        strategy=options["strategy"],
        precision=options["precision"],
        conditional=options["conditional"] or LABEL in options["conditions"],
        augment=options["augment"],
        settings=dataclasses.asdict(config),
        mirror=options["mirror"],
        conditions=tuple(name for name in dict.fromkeys(options["conditions"]) if name != LABEL),
        init=options["init"],
        parent=options["parent"],
        freeze_critic=options["freeze_critic"],
        lora=options["lora"],
    )


def _check_meaning(options, family):
    """Raises UserError for an option that has no effect on this family."""

    name, task = options["model"], family.Model.task
    for option in (["--conditional"] if options["conditional"] else []) + [
        f"--condition {x}" for x in options["conditions"]
    ]:
        if not family.Model.CONDITIONS:
            raise UserError(
                f"{option} is for conditional models, and {name} ({task}) takes no conditions"
            )
    if options["augment"] != "none" and not hasattr(family.Model, "critic_terms"):
        raise UserError(f"--augment {options['augment']} changes what a critic sees, and {name} has none")
    if options["freeze_critic"] and not hasattr(family.Model, "critic_terms"):
        raise UserError(f"--freeze-critic is for families with a critic, and {name} has none")
    if options["freeze_critic"] and not options["init"]:
        raise UserError("--freeze-critic keeps what another run has learnt: it needs --init RUN")
    if options["lora"] and not options["init"]:
        raise UserError("--lora changes what another run has learnt: it needs --init RUN")


def _settings(written_as_options, family):
    """Yields "name=value" of each. Raises click.NoSuchOption for a name that is not a setting of the family."""
    settings = {field.name for field in dataclasses.fields(family.Config)}
    options = [name for option in main.params for name in (*option.opts, *option.secondary_opts)]
    for name, value in written_as_options:
        setting = name.removeprefix("--").replace("-", "_")
        if setting not in settings or value is None:
            known = [*options, *(f"--{other.replace('_', '-')}" for other in sorted(settings))]
            raise click.NoSuchOption(name, possibilities=difflib.get_close_matches(name, known))
        yield f"{setting}={value}"


def _vertex_root():
    """Returns the base output folder of a Vertex AI job, the parent of AIP_MODEL_DIR."""
    model_dir = from_environment("AIP_MODEL_DIR")
    return model_dir.rpartition("/")[0] if model_dir else None


def _export_to(options, root, run):
    from trainer.runs.exporting import split_model_dir
    from trainer.runs.folder import RunDir

    model_dir = from_environment("AIP_MODEL_DIR")
    if model_dir and not options["export_to"] and not options["name"]:
        return split_model_dir(model_dir)
    return options["export_to"] or model_dir or RunDir(root).exports, options["name"] or run.model
