"""README.md of a bundle: what is in it, what was measured, and the way from a laptop to a cluster and to Vertex AI."""

import json

from serving import sizing
from serving.deploy import command, compose, envoy, keys, kubernetes, monitoring
from serving.deploy.plan import Plan


def files(plan: Plan) -> dict[str, str]:
    """README.md by its path."""
    parts = (_head, _contents, _sizes, _laptop, _docker, _kubernetes, _kserve, _vertex, _versions, _not_run)
    return {"README.md": "\n".join(part(plan).strip() + "\n" for part in parts)}


def _head(plan):
    names = ", ".join(f"{model.name} ({_list(model.loaded)})" for model in plan.models)
    return f"""
# Serving bundle

TensorFlow Serving for the models {names}, in parentheses the versions that are served. Written by `packshot bundle`, which replaces this folder when it
is run again, but not when a file in it was changed or added: keep what is yours outside, as a second `-f` of `docker compose` or as a
kustomize overlay that lists this folder as its resource.
"""


def _contents(plan):
    rows = [
        ("serving/", "what tensorflow_model_server reads: models, metrics" + (", batches" if plan.batching_config else "")),
        ("measurements.json", "what the models were measured to take, and what follows from it; the tables below"),
        (f"{compose.FILE}, .env", "one host: the server, Envoy, Prometheus, Grafana"),
        (compose.DEBUG_FILE, "added to it, the server's own ports on the loopback address"),
        (envoy.FILE, "the way in: TLS, tokens, nothing but predictions; the same in compose and in Kubernetes"),
        ("keys/", "scripts that make keys and certificates elsewhere; there is none in here"),
        ("monitoring/", "scraping, alerts, a board"),
        ("kustomization.yaml, kubernetes/", "a cluster"),
        ("kserve/", "a cluster with KServe, instead of the line above"),
        ("vertex/", "Vertex AI"),
        ("bundle.json", "what this was made from, and the digests of its files"),
    ]
    return "## What is in it\n\n| file | what |\n|---|---|\n" + "".join(f"| `{file}` | {what} |\n" for file, what in rows)


def _sizes(plan):
    timed = [model for model in plan.models if model.measurement.seconds]
    limit = f"{1000 * plan.latency_limit:g} ms"
    text = f"## How large it is\n\n{plan.cpus} CPUs and {plan.memory_mib(plan.models)} MiB for each server.\n"
    for model in timed:
        taken = model.measurement
        request = ", ".join(f"`{alias}` {what}" for alias, what in sorted(taken.request.items()))
        text += f"\n**{model.name}** {model.loaded[-1]}, `{sizing.SIGNATURE}` ({request}):\n\n"
        text += "| rows in a batch | ms | rows/s | MiB |\n|--:|--:|--:|--:|\n"
        for size, seconds in taken.seconds.items():
            text += f"| {size} | {1000 * seconds:.1f} | {size / seconds:.0f} | {taken.run_bytes[size] / 2**20:.0f} |\n"
        under, useful = sizing.under_limit(taken.seconds, plan.latency_limit), sizing.useful(taken.seconds)
        text += f"\nUp to {under} rows stay under {limit}; sizes that raise rows/s: {_list(useful)}.\n"
        if taken.seconds[1] > plan.latency_limit:
            text += f"A single row takes longer than {limit}.\n"
    if timed:
        text += f"""
Each figure is the median of {sizing.ROUNDS} rounds in which the sizes took turns, of one batch at a time, in TensorFlow's C++ session on {plan.cpus} CPUs of the machine
that made the bundle (`measurements.json` says which), without network and JSON. MiB is how far the peak memory of the process had risen. Measure again on the machine
that will serve: `packshot bundle` there.

The rule: the largest batch keeps every model under {limit} (`--latency-ms`), and a size stays when it gives at least {sizing.GAIN - 1:.0%} more rows a second than
the one before, for one model at least; 1 always stays, because a batch is padded to the next size. A server has one set of sizes for all its models: models
that want very different ones are better off in bundles of their own (`--model`). A batch waits for nothing but a free thread (`batch_timeout_micros: 0`):
while the CPUs are busy the next one fills by itself.
"""
    else:
        text += "\nNothing was timed (`--no-measure`): batch sizes are those of `batching.config` beside the models, and the memory of a run is a guess.\n"
    if plan.batching_config:
        text += f"\n**Batches of {_list(plan.batch_sizes)}.** Largest waiting time and threads: `serving/batching.config`.\n"
    else:
        text += f"\n**No batches**: {plan.unbatched}.\n"
    return text + f"""
Memory: {sizing.SERVER_BYTES >> 20} MiB for the server, {sizing.SPARE} times what loading took for every version served and one more (while a new version replaces an old one both are
there), and what runs take that are under way at once. A model that takes pictures of any size takes memory as they are large: what was sent is
what is planned for.
"""


def _laptop(plan):
    model = plan.models[0]
    return f"""
## 1. A laptop: the server alone

    docker compose -f {compose.FILE} -f {compose.DEBUG_FILE} up -d {envoy.SERVER}
    curl localhost:{command.REST_PORT}/v1/models/{model.name}              # "AVAILABLE"
    {_request(model, f"http://localhost:{command.REST_PORT}")}

Without Docker, with a `tensorflow_model_server` of your own: the command of the service `{envoy.SERVER}` in `{compose.FILE}`, with paths of this machine.
`.env` says where the models lie (`MODELS={plan.models_folder}`, as seen from here).
"""


def _docker(plan):
    model = plan.models[0]
    secrets = plan.secrets_folder
    safe = f'--cacert {secrets}/tls.crt -H "Authorization: Bearer $(cat {secrets}/token)"'
    return f"""
## 2. One host: Envoy in front, and something to look at

    {keys.LAPTOP} {secrets}          # a certificate for localhost, a key that signs tokens, a token; for trying out
    docker compose up -d
    {_request(model, f"https://localhost:{envoy.PORT}", safe)}

Callers come to port {envoy.PORT}, with TLS and a token (`aud` {envoy.AUDIENCE}, with an `exp`, signed by a key of `jwks.json`). What passes: gRPC
`PredictionService/Predict` and REST `POST :predict`; not status and metadata, and not ModelService, with which anybody could load any model. A request
may have {envoy.REQUEST_BYTES >> 20} MiB. For production replace the three files in `{secrets}` ({", ".join(keys.FILES)}) and restart Envoy.

The board: <http://localhost:{monitoring.GRAFANA_PORT}>. Alerts: <http://localhost:{monitoring.PROMETHEUS_PORT}/alerts>. All ports are on the loopback address; to let others in, put
`{envoy.PORT}` on an address of yours with a compose file of your own, and only that.

A server that callers reach without Envoy (a sidecar, a bare host) takes TLS from `{keys.SSL_CONFIG}`, for gRPC only.
"""


def _kubernetes(plan):
    model = plan.models[0]
    space = f"kubectl -n {kubernetes.NAMESPACE}"
    copies = "\n".join(
        f"    {space} exec loader -- mkdir -p {command.MODELS}/{m.name}\n"
        f"    {space} cp {plan.models_folder}/{m.name}/{m.loaded[-1]} loader:{command.MODELS}/{m.name}/.incoming\n"
        f"    {space} exec loader -- mv {command.MODELS}/{m.name}/.incoming {command.MODELS}/{m.name}/{m.loaded[-1]}"
        for m in plan.models
    )
    secret = " ".join(f"--from-file={plan.secrets_folder}/{name}" for name in keys.FILES)
    return f"""
## 3. Kubernetes

The claim `{kubernetes.CLAIM}` wants a storage class that many pods may read from (`ReadWriteMany`); a bucket mounted by the cluster's driver will do. Once:

    kubectl apply -f kubernetes/namespace.yaml
    {space} create secret generic {kubernetes.ENVOY_SECRETS} {secret}
    {space} apply -f kubernetes/models.yaml -f kubernetes/loader.yaml
    {space} wait --for=condition=Ready pod/loader
{copies}
    {space} delete pod loader

A version gets its number by a rename, when it is complete: a server takes what it sees. Repeat the copy for every version that is served. Then

    kubectl apply -k .
    {space} rollout status deployment/{envoy.SERVER} deployment/envoy
    {space} port-forward service/envoy {envoy.PORT} &
    {_request(model, f"https://localhost:{envoy.PORT}", "...")}

{kubernetes.MINIMUM} to {kubernetes.MAXIMUM} servers, by CPU. Network policies need a network plugin that enforces them; Prometheus is expected as pods labelled
`app.kubernetes.io/name: prometheus`, told by annotations what to scrape, with `monitoring/prometheus/alerts.yml` as its rules. Outside the cluster put your load balancer in
front of the service `envoy`, passing TLS through. The image is for amd64.
"""


def _kserve(plan):
    model = plan.models[0]
    return f"""
## 4. Or KServe

    kubectl create namespace packshot-kserve
    kubectl -n packshot-kserve apply -f kubernetes/models.yaml -f kubernetes/loader.yaml     # and fill it as above
    kubectl -n packshot-kserve apply -f kserve/{model.kubernetes_name}.yaml

A namespace of its own, because KServe's pods do not meet the standard that `kubernetes/namespace.yaml` enforces. Who may call is a matter for KServe's gateway: Envoy
and the network policies of this bundle are not part of it.
"""


def _vertex(plan):
    return f"""
## 5. Or Vertex AI

    PROJECT=... REGION=europe-west4 BUCKET=gs://... REPOSITORY=... sh vertex/upload.sh {plan.models[0].name}

Builds an image with the settings of this bundle (Cloud Build), copies the newest version served to the bucket, uploads it as a model, and says how to deploy it.
Vertex AI speaks REST: `{{"instances": [...]}}`, about 1.5 MB a request; `rawPredict` passes any body, with a `signature_name` too.
"""


def _versions(plan):
    return f"""
## New versions, canaries, going back

A new folder with a larger number is found within {command.POLL_SECONDS} seconds and, unless `models.config` beside the models says otherwise, replaces the one before once it is loaded. To go
back, rename the new folder to a name that is no number.

For a canary, name both versions in `models.config` beside the models, with labels, and run `packshot bundle` again:

    model_version_policy {{ specific {{ versions: 3 versions: 4 }} }}
    version_labels {{ key: "stable" value: 3 }}
    version_labels {{ key: "canary" value: 4 }}

Callers then ask for `/v1/models/NAME/labels/canary:predict`, or set `version_label` in gRPC. Move `stable` to 4 only when 4 is loaded, else the server refuses the
whole file. In Kubernetes `kubectl apply -k .` is enough, and the servers go on; on one host, `docker compose restart {envoy.SERVER}`.
"""


def _not_run(plan):
    return """
## What has not been run

When this kind of bundle was made and tested there was no Docker daemon, no cluster, no cloud account and no tensorflow_model_server. So what was done is less: the texts in `serving/`
parse as the server's own messages; Envoy 1.40 was started with `envoy/envoy.yaml` in front of a stand-in server, and let predictions with a token through and nothing
else; `promtool` checked the scraping and ran the alerts on made-up numbers; `docker compose config` and `kubectl kustomize` read their files, and every manifest fits
the schemas of its kind; the scripts in `keys/` were run; `gcloud` accepted the arguments of `vertex/upload.sh`. What only a real run can
show, such as that the images start with a read-only root as these users, that the storage class allows many readers, that the
limits hold under load, is for you to see: go in the order above, and look at the board.
"""


def _request(model, address, options=""):
    """A curl that asks `model` for one prediction."""
    signatures = model.measurement.signatures
    url = f"{address}/v1/models/{model.name}:predict"
    options = f" {options}" if options else ""
    if "apply_bytes" in signatures:
        return (
            """printf '{"signature_name": "apply_bytes", "instances": [{"b64": "%s"}]}' "$(base64 <photo.jpg | tr -d '\\n')" |\n"""
            f"      curl{options} {url} -d @-"
        )
    numbers = {"float32": 1.0, "int32": 7, "int64": 7}
    inputs = signatures.get(sizing.SIGNATURE, {})
    kinds = {alias: what.split(" ")[0] for alias, what in inputs.items() if what.endswith("[]")}
    if inputs and kinds.keys() == inputs.keys() and set(kinds.values()) <= set(numbers):
        row = {alias: 0 if alias == "label" else numbers[kind] for alias, kind in sorted(kinds.items())}
        return f"curl{options} {url} -d '{json.dumps({'instances': [row]})}'"
    return f"curl{options} {url} -d @request.json"


def _list(numbers):
    return ", ".join(map(str, numbers))
