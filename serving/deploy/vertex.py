"""Vertex AI: the server as a custom container, one Vertex AI model for each model.

Vertex AI needs an image in its own registry, which holds the settings of this bundle. The weights are read from Vertex
AI's copy of the artifacts (AIP_STORAGE_URI). Vertex AI itself expands $(NAME) in arguments.

Sources: Vertex AI, custom container requirements and ModelContainerSpec; `gcloud ai models upload --help`, 528.0.
"""

import shlex

from serving.deploy import command
from serving.deploy.spec import BundleSpec

PORT = 8080  # Vertex AI's default of AIP_HTTP_PORT


def files(spec: BundleSpec) -> dict[str, str]:
    """The Dockerfile and the script that uploads a model, by their paths."""
    return {"vertex/Dockerfile": _dockerfile(spec), "vertex/upload.sh": _script(spec)}


def arguments(spec: BundleSpec) -> list[str]:
    """The flags of the server; the script expands `$model`, Vertex AI expands $(NAME)."""
    return [
        f"--port={command.GRPC_PORT}",
        "--rest_api_port=$(AIP_HTTP_PORT)",
        "--model_name=$model",
        "--model_base_path=$(AIP_STORAGE_URI)",
        "--file_system_poll_wait_seconds=600",  # its copy of the artifacts never changes, and reading the bucket costs money
        *command.limits(spec),
    ]


def machine(spec: BundleSpec) -> str:
    """The smallest n1-standard machine with the CPUs of the bundle."""
    return f"n1-standard-{max(2, 1 << (spec.cpus - 1).bit_length())}"


def _dockerfile(spec):
    return f"""\
# TensorFlow Serving with the settings of this bundle; see upload.sh.
FROM {spec.image}
COPY *.config {command.CONFIG}/
USER 1000:1000
"""


def _script(spec):
    versions = "\n".join(
        f"  {model.name}) version={model.loaded[-1]} folder={model.folders[model.loaded[-1]]} ;;"
        for model in spec.models
    )
    names = " ".join(model.name for model in spec.models)
    flags = ",".join(arguments(spec)).replace("$(", "\\$(")
    environment = ",".join(f"{name}={value}" for name, value in command.ENVIRONMENT.items())
    return f"""\
#!/bin/sh
# Uploads one model of this bundle to Vertex AI, and says how to deploy it (which costs money, and so is not done here).
#
#   PROJECT=my-project REGION=europe-west4 BUCKET=gs://my-bucket REPOSITORY=my-docker-repository vertex/upload.sh MODEL
#
# REPOSITORY is a Docker repository of Artifact Registry in REGION; BUCKET is in REGION. Models here: {names}
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
model=${{1:?"usage: vertex/upload.sh MODEL, one of: {names}"}}
case $model in
{versions}
  *) echo "this bundle has no model $model; it has: {names}" >&2; exit 2 ;;
esac
: "${{PROJECT:?}}" "${{REGION:?}}" "${{BUCKET:?}}" "${{REPOSITORY:?}}"
models={shlex.quote(spec.models_folder)}  # as seen from the bundle
models=${{MODELS:-$here/$models}}
artifacts=$BUCKET/$model-$version
image=$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY/packshot-serving:$model-$version

# The server wants its versions as numbered folders in what Vertex AI copies.
gcloud storage rsync --recursive "$models/$model/$folder" "$artifacts/$version"

context=$(mktemp -d)
trap 'rm -r "$context"' EXIT
cp "$here/vertex/Dockerfile" "$here"/serving/*.config "$context"
gcloud builds submit "$context" --project="$PROJECT" --tag="$image"

gcloud ai models upload \\
  --project="$PROJECT" \\
  --region="$REGION" \\
  --display-name="$model-$version" \\
  --artifact-uri="$artifacts" \\
  --container-image-uri="$image" \\
  --container-command={command.BINARY} \\
  --container-args="{flags}" \\
  --container-env-vars={environment} \\
  --container-ports={PORT} \\
  --container-health-route="/v1/models/$model" \\
  --container-predict-route="/v1/models/$model:predict"

cat <<NEXT
Uploaded. To deploy it:
  gcloud ai endpoints create --project=$PROJECT --region=$REGION --display-name=$model
  gcloud ai endpoints deploy-model ENDPOINT --project=$PROJECT --region=$REGION --display-name=$model-$version \\\\
    --model=MODEL_ID --machine-type={machine(spec)} --min-replica-count=1 --max-replica-count=4
(MODEL_ID: gcloud ai models list --project=$PROJECT --region=$REGION)
NEXT
"""
