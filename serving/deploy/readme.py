"""README.md of a bundle: its files, the measurements, and steps from a laptop to a cluster and to Vertex AI."""

import json
import shlex
import textwrap

from serving.deploy import command, compose, envoy, keys, kserve, kubernetes, monitoring, sizing
from serving.deploy.spec import BundleSpec


def files(spec: BundleSpec) -> dict[str, str]:
    """README.md by its path."""
    parts = (_head, _contents, _sizes, _laptop, _docker, _kubernetes, _kserve, _vertex, _versions, _not_run)
    return {"README.md": "\n".join(part(spec).strip() + "\n" for part in parts)}


def _head(spec):
    names = ", ".join(f"{model.name} (version {_list(model.loaded)})" for model in spec.models)
    return f"""
# Serving bundle

TensorFlow Serving for {names}.

Written by `packshot bundle`, which replaces this folder when it is run again, but not when a file in it was changed or
added. So keep what is yours outside: as one more `-f` of `docker compose`, or as a kustomize overlay that has this
folder as its resource.
"""


def _contents(spec):
    read = "models, metrics, batches" if spec.batching_config else "models, metrics"
    rows = [
        ("serving/", f"what tensorflow_model_server reads: {read}"),
        ("measurements.json", "what the models were measured to take, and what follows from it; the tables below"),
        (f"{compose.FILE}, .env", "one host: the server, Envoy, Prometheus, Grafana"),
        (compose.DEBUG_FILE, "added to it, the server's own ports on the loopback address"),
        (envoy.FILE, "the way in: TLS, tokens, nothing but predictions; the same in compose and in Kubernetes"),
        ("keys/", "scripts that make keys and certificates elsewhere; there is none in here"),
        ("monitoring/", "scraping, alerts, a board"),
        ("kustomization.yaml, kubernetes/", "a cluster"),
        ("kserve/", "a cluster with KServe, instead of the line above"),
        ("vertex/", "Vertex AI"),
        ("bundle.json", "which weights this was made for, and the digests of its files"),
    ]
    return "## What is in it\n\n| file | what |\n|---|---|\n" + "".join(
        f"| `{file}` | {what} |\n" for file, what in rows
    )


def _sizes(spec):
    timed = [model for model in spec.models if model.measurement.seconds]
    limit = f"{1000 * spec.latency_limit:g} ms"
    parts = [f"## How large it is\n\n{spec.cpus} CPUs and {spec.memory_mib(spec.models)} MiB for each server.\n"]
    parts += [_table(model, spec.latency_limit, limit) for model in timed]
    if timed:
        parts.append(f"""
Each figure is the median of {sizing.ROUNDS} rounds in which the sizes took turns, one batch at a time, in TensorFlow's C++ session on
{spec.cpus} CPUs of the machine that made the bundle (`measurements.json` says which), without network and JSON. MiB is how far
the peak memory of the process had risen. They are worth what that machine has in common with the one that will serve:
run `packshot bundle` there.

The rule: the largest batch keeps every model under {limit} (`--latency-ms`), and a size stays when it gives at least
{sizing.GAIN - 1:.0%} more rows a second than the one before, for one model at least; 1 always stays, because a batch is padded to the
next size. A server has one set of sizes for all its models: models that want very different ones are better off in
bundles of their own (`--model`). A batch waits for nothing but a free thread (`batch_timeout_micros: 0`): while the CPUs
are busy the next one fills by itself. A request holds a thread while it waits, hence the number of threads in the
server's command.
""")
    else:
        parts.append("""
Nothing was timed (`--no-measure`): batch sizes are those of `batching.config` beside the models, and the memory of a run
is a guess.
""")
    if spec.batching_config:
        parts.append(f"\n**Batches of {_list(spec.batch_sizes)}**, see `serving/batching.config`.")
        if any("apply_bytes" in model.measurement.signatures for model in spec.models):
            parts.append(
                " A file that is no picture fails the requests it shares a batch with:\n"
                "let who sends files to `apply_bytes` look at them first."
            )
        parts.append("\n")
    else:
        parts.append("\n" + textwrap.fill(f"**No batches**: {spec.unbatched}.", 120, break_on_hyphens=False) + "\n")
    parts.append(f"""
Memory: {sizing.SERVER_BYTES >> 20} MiB for the server, {sizing.SPARE} times what loading took for every version served and
for one more (while a new version replaces an old one both are there), and what the runs take that are under way at
once. A model that takes pictures of any size takes memory as they are large: it is planned for what was sent.
""")
    return "".join(parts)


def _table(model, seconds, limit):
    taken = model.measurement
    request = ", ".join(f"`{alias}` {what}" for alias, what in sorted(taken.request.items()))
    lines = [
        f"\n**{model.name}** version {model.loaded[-1]}, `{sizing.SIGNATURE}` ({request}):\n",
        "| rows in a batch | ms | rows/s | MiB |",
        "|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {size} | {1000 * spent:.1f} | {size / spent:.0f} | {taken.run_bytes[size] / 2**20:.0f} |"
        for size, spent in taken.seconds.items()
    ]
    under, useful = sizing.under_limit(taken.seconds, seconds), sizing.useful(taken.seconds)
    lines.append(f"\nUp to {under} rows stay under {limit}; sizes that raise rows/s: {_list(useful)}.")
    if taken.seconds[1] > seconds:
        lines[-1] = f"\nA single row takes longer than {limit}."
    return "\n".join(lines) + "\n"


def _laptop(spec):
    model = spec.models[0]
    return f"""
## 1. A laptop: the server alone

    docker compose -f {compose.FILE} -f {compose.DEBUG_FILE} up -d {envoy.SERVER}
    curl localhost:{command.REST_PORT}/v1/models/{model.name}      # "state": "AVAILABLE"
    {_request(model, f"http://localhost:{command.REST_PORT}")}

`.env` says where the models lie (`MODELS={spec.models_folder}`, as seen from here) and who the containers run as
(`RUN_AS={spec.user}`), who has to be able to read them. Without Docker, with a tensorflow_model_server of your own: the
command of the service `{envoy.SERVER}` in `{compose.FILE}`, with the paths of this machine.
"""


def _docker(spec):
    secrets = spec.secrets_folder
    return f"""
## 2. One host: Envoy in front, and something to look at

For trying out, a certificate for localhost, a key that signs tokens, and a token:

    {keys.LAPTOP} {_path(secrets)}

Then

    docker compose up -d
    {_request(spec.models[0], f"https://localhost:{envoy.PORT}", _credentials(spec))}

Callers come to port {envoy.PORT}, with TLS and a token (`aud` is `{envoy.AUDIENCE}`, it has an `exp`, and a key of `jwks.json` signed it).
What passes is gRPC `PredictionService/Predict` and REST `POST :predict`; not status and metadata, and not ModelService,
with which anybody could load any model. A request may have {envoy.REQUEST_BYTES >> 20} MiB. For production replace {_list(keys.FILES)}
in `{secrets}` by those of your certificate authority and of who issues your tokens, and restart Envoy.

The board is at <http://localhost:{monitoring.GRAFANA_PORT}>, alerts are at
<http://localhost:{monitoring.PROMETHEUS_PORT}/alerts>. All ports are on the loopback address; to let others in, put {envoy.PORT} on
another address with a compose file of your own, and only that.

A server that callers reach without Envoy takes TLS from `{keys.SSL_CONFIG}`, for gRPC only.
"""


def _kubernetes(spec):
    space = f"kubectl -n {kubernetes.NAMESPACE}"
    copies = "\n".join(
        f"    {space} exec loader -- mkdir -p {command.MODELS}/{model.name}\n"
        f"    {space} cp {_path(spec.models_folder, model.name, folder)} loader:{command.MODELS}/{model.name}/.incoming\n"
        f"    {space} exec loader -- mv {command.MODELS}/{model.name}/.incoming {command.MODELS}/{model.name}/{version}"
        for model in spec.models
        for version, folder in model.folders.items()
    )
    secret = " \\\n      ".join(f"--from-file={_path(spec.secrets_folder, name)}" for name in keys.FILES)
    return f"""
## 3. Kubernetes

The claim `{kubernetes.CLAIM}` wants a storage class that many pods may read from (`ReadWriteMany`); a bucket mounted by the cluster's
driver will do. Once:

    kubectl apply -f kubernetes/namespace.yaml
    {space} create secret generic {kubernetes.ENVOY_SECRETS} \\
      {secret}
    {space} apply -f kubernetes/models.yaml -f kubernetes/loader.yaml
    {space} wait --for=condition=Ready pod/loader
{copies}
    {space} delete pod loader

A version gets its number by a rename, once it is complete, because a server takes what it sees. Then

    kubectl apply -k .
    {space} rollout status deployment/{envoy.SERVER}
    {space} rollout status deployment/envoy
    {space} port-forward service/envoy {envoy.PORT}

and ask as in 2. There are {kubernetes.MINIMUM} to {kubernetes.MAXIMUM} servers, by CPU. Network policies need a network plugin
that enforces them. Prometheus is expected in pods labelled `app.kubernetes.io/name: prometheus`; annotations tell it
what to scrape, and its rules are in `monitoring/prometheus/alerts.yml`. Callers from outside need a load balancer in
front of the service `envoy` that passes TLS through. The image of TensorFlow Serving is for amd64.
"""


def _kserve(spec):
    model = spec.models[0]
    space = f"kubectl -n {kserve.NAMESPACE}"
    return f"""
## 4. Or KServe

    kubectl create namespace {kserve.NAMESPACE}
    {space} apply -f kubernetes/models.yaml -f kubernetes/loader.yaml      # and fill it as in 3
    {space} apply -f kserve/{model.kubernetes_name}.yaml

A namespace of its own, because KServe's pods do not meet the standard that `kubernetes/namespace.yaml` enforces. Who may
call is a matter for KServe's gateway: Envoy and the network policies of this bundle have no part in it.
"""


def _vertex(spec):
    return f"""
## 5. Or Vertex AI

    PROJECT=... REGION=europe-west4 BUCKET=gs://... REPOSITORY=... vertex/upload.sh {spec.models[0].name}

Copies the newest version served to the bucket, builds an image with the settings of this bundle (Cloud Build), uploads
both as a model, and says how to deploy it. Vertex AI speaks REST: `{{"instances": [...]}}`, about 1.5 MB a request;
`rawPredict` passes any body, so also one with a `signature_name`.
"""


def _versions(spec):
    return f"""
## New versions, canaries, going back

A new folder with a larger number is found within {command.POLL_SECONDS} seconds and replaces the version before once it is loaded, unless
`models.config` beside the models says otherwise. To go back, give the new folder a name that is no number.

For a canary, name both versions in `models.config` beside the models, with labels, and run `packshot bundle` again:

    model_version_policy {{ specific {{ versions: 3 versions: 4 }} }}
    version_labels {{ key: "stable" value: 3 }}
    version_labels {{ key: "canary" value: 4 }}

Callers then ask for `/v1/models/NAME/labels/canary:predict`, or set `version_label` in gRPC. Move `stable` to 4 only once 4
is loaded, else the server refuses the whole file. In Kubernetes `kubectl apply -k .` is enough, and the servers go on; on
one host it is `docker compose up -d --force-recreate`.
"""


def _not_run(spec):
    return """
## What has not been run

This kind of bundle was made and tested without a Docker daemon, a cluster, a cloud account or a tensorflow_model_server.
What was done instead: the texts in `serving/` parse as the server's own messages; Envoy 1.40 ran `envoy/envoy.yaml` in
front of a stand-in for the server, let predictions with a token through, and nothing else; the probe was run against
that stand-in too; `promtool` read the scraping and ran the alerts on made-up numbers; `docker compose config` and `kubectl
kustomize` read their files, and the manifests fit the schemas of their kinds; the scripts in `keys/` were run, and
`gcloud` took the arguments of `vertex/upload.sh`.

What only a real run can show is for you to see: that the images are to be had and start on a read-only root as these
users, that the storage class allows many readers, that limits hold under load. Go in the order above, and look at the
board.
"""


def _credentials(spec):
    secrets = spec.secrets_folder
    return f'--cacert {_path(secrets, "tls.crt")} -H "Authorization: Bearer $(cat {_path(secrets, "token")})"'


def _request(model, address, options=""):
    """A command that requests one prediction from `model`."""
    url = f"{address}/v1/models/{model.name}:predict"
    curl = f"curl {options} \\\n      {url}" if options else f"curl {url}"
    signatures = model.measurement.signatures
    if "apply_bytes" in signatures:
        body = '{"signature_name": "apply_bytes", "instances": [{"b64": "%s"}]}'
        return f"""printf '{body}' "$(base64 <photo.jpg | tr -d '\\n')" |\n      {curl} -d @-"""
    numbers = {"float32": 1.0, "int32": 0, "int64": 0}
    inputs = signatures.get(sizing.SIGNATURE, {})
    kinds = {alias: what.split(" ")[0] for alias, what in inputs.items() if what.endswith("[]")}
    if inputs and kinds.keys() == inputs.keys() and set(kinds.values()) <= set(numbers):
        row = {alias: 7 if alias == "seed" else numbers[kind] for alias, kind in sorted(kinds.items())}
        return f"{curl} -d '{json.dumps({'instances': [row]})}'"
    return f"{curl} -d @request.json"


def _path(*parts):
    """A path quoted for a shell."""
    return shlex.quote("/".join(parts))


def _list(things):
    return ", ".join(map(str, things))
