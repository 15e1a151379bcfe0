"""`packshot bundle`: the production bundle around a folder of exported models."""

import click

from trainer.commands.options import PATH
from trainer.console import CONTEXT, progress, say
from trainer.errors import refusing


# fmt: off
@click.command(context_settings=CONTEXT, epilog="""
\b
Examples:
  packshot bundle models --out deploy
  packshot bundle models --model r3gan --latency-ms 50 --cpus 2 --out deploy
\b
deploy/README.md describes the next steps, from a laptop to Kubernetes and Vertex AI.
""")
@click.argument("models_dir", metavar="MODELS_DIR", type=PATH)
@click.option("--out",        help="Folder to write; an earlier bundle is replaced", metavar="DIR", type=PATH, required=True)
@click.option("--model",      "only", help="Take only this model; repeatable [default: all]", metavar="NAME", multiple=True)
@click.option("--latency-ms", help="Longest time a batch may take", metavar="MS", type=click.FloatRange(0, min_open=True), default=100.0)
@click.option("--cpus",       help="CPUs of a server, and to measure with [default: all here]", metavar="N", type=click.IntRange(1, 1024))
@click.option("--pixels",     help="Side of pictures sent to models of any size", metavar="PX", type=click.IntRange(8, 4096), default=256)
@click.option("--no-measure", help="Skip the timing and take the batch sizes of MODELS_DIR/batching.config", is_flag=True)
@click.option("--image",      help="Image of TensorFlow Serving [default: the tested release]", metavar="IMAGE")
# fmt: on
def main(models_dir, out, only, latency_ms, cpus, pixels, no_measure, image):
    """Write the files that run the models of MODELS_DIR in production.

    Measures each model and chooses batch sizes and memory. Writes settings for TensorFlow Serving, docker compose with Envoy,
    Prometheus and Grafana, Kubernetes and KServe manifests, a recipe for Vertex AI, and a README with the steps in order.
    """
    from serving.deploy import bundle

    with refusing():
        spec = bundle.bundle(
            models_dir,
            out,
            only=only,
            latency_limit=latency_ms / 1000,
            cpus=cpus,
            pixels=pixels,
            timed=not no_measure,
            progress=progress,
            **({"image": image} if image else {}),
        )
    sizes = ", ".join(map(str, spec.batch_sizes))
    names = ", ".join(model.name for model in spec.models)
    say(f"{names}: {spec.cpus} CPUs and {spec.memory_mib(spec.models)} MiB per server; next: {out}/README.md")
    say(f"batches of {sizes}" if spec.batching_config else f"no batches: {spec.unbatched}")
