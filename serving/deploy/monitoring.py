"""Prometheus and Grafana: scraping, alerts, and a dashboard.

Metrics have TensorFlow Serving's names: "/" becomes ":", times are in microseconds, and there is no label for the
version or the signature. Each unknown model in a request adds a series, so Envoy passes only known names on REST.
"""

from serving.deploy import command, envoy
from serving.deploy.documents import json_text, yaml_text
from serving.deploy.spec import BundleSpec
from serving.export import config

PROMETHEUS_PORT, GRAFANA_PORT = 9090, 3000
PROMETHEUS_CONFIG = "/etc/prometheus"
GRAFANA_BOARDS = "/etc/grafana/boards"
DATASOURCE = "prometheus"
JOB = "tensorflow-serving"
SCRAPE_SECONDS = 15
FROM_OUTSIDE = '{envoy_http_conn_manager_prefix="entrance"}'

REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"
QUEUEING = ":tensorflow:serving:batching_session:queuing_latency"
BATCHES = ":tensorflow:serving:batching_session:wrapped_run_count"
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
FAILED_LOADS = LOADS + '{status="fail"}'
FAILED = '{status!~"OK|INVALID_ARGUMENT|NOT_FOUND"}'  # the server's fault, not the caller's

PROMETHEUS_COMMENT = """\
Scrapes the server under the path that serving/monitoring.config gives it, and Envoy."""

ALERTS_COMMENT = """\
What somebody should be woken for. Latencies are of whole requests, waiting for a batch included, in microseconds.
Memory is not among it: the server has no metric of its own memory, so watch its container's, which grows with every
version loaded and does not shrink."""


def files(spec: BundleSpec) -> dict[str, str]:
    """Prometheus' configuration and alerts, Grafana's provisioning and dashboard, by their paths."""
    folder = "monitoring/grafana/provisioning"
    return {
        "monitoring/prometheus/prometheus.yml": yaml_text(PROMETHEUS_COMMENT, _prometheus()),
        "monitoring/prometheus/alerts.yml": yaml_text(ALERTS_COMMENT, _alerts(spec)),
        f"{folder}/datasources/prometheus.yml": yaml_text("Where the board finds its numbers.", _datasource()),
        f"{folder}/dashboards/packshot.yml": yaml_text("Boards are files: what is clicked is not kept.", _provider()),
        "monitoring/grafana/dashboards/serving.json": json_text(_board(spec)),
    }


def _prometheus():
    def target(host, port):
        return [{"targets": [f"{host}:{port}"]}]

    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {
                "job_name": JOB,
                "metrics_path": config.METRICS_PATH,
                "static_configs": target(envoy.SERVER, command.REST_PORT),
            },
            {
                "job_name": "envoy",
                "metrics_path": envoy.METRICS_PATH,
                "static_configs": target("envoy", envoy.METRICS_PORT),
            },
        ],
    }


def _alerts(spec):
    slow = round(2e6 * spec.latency_limit)
    failed = f"sum by (model_name) (rate({REQUESTS}{FAILED}[5m]))"
    asked = f"sum by (model_name) (rate({REQUESTS}[5m]))"

    def alert(name, expression, minutes, severity, summary):
        return {
            "alert": name,
            "expr": expression,
            "for": f"{minutes}m",
            "labels": {"severity": severity},
            "annotations": {"summary": summary},
        }

    rules = [
        alert("ServerDown", f'up{{job="{JOB}"}} == 0', 2, "page", "TensorFlow Serving cannot be scraped."),
        alert(
            "RequestsFail",
            f"{failed} / {asked} > 0.05",
            5,
            "page",
            "More than 5 % of the requests to {{ $labels.model_name }} fail, and not for what the callers sent.",
        ),
        alert(
            "RequestsSlow",
            f"histogram_quantile(0.99, sum by (le, model_name) (rate({LATENCY}_bucket[5m]))) > {slow}",
            10,
            "ticket",
            "One in a hundred requests to {{ $labels.model_name }} takes longer than twice the limit of a batch "
            f"({1000 * spec.latency_limit:g} ms).",
        ),
        alert(
            "LoadFailed",
            # This counter starts at 1 with the first failure, which is no increase.
            f"increase({FAILED_LOADS}[15m]) > 0 or ({FAILED_LOADS} unless {FAILED_LOADS} offset 15m)",
            0,
            "ticket",
            "A version under {{ $labels.model_path }} cannot be loaded; the one before it still answers.",
        ),
    ]
    if spec.batching_config:
        rules.append(
            alert(
                "BatchesQueue",
                f"histogram_quantile(0.99, sum by (le) (rate({QUEUEING}_bucket[5m]))) > {round(1e6 * spec.latency_limit)}",
                10,
                "ticket",
                "Requests wait longer for a batch than a batch may take: more replicas, or more CPUs.",
            )
        )
    return {"groups": [{"name": "serving", "rules": rules}]}


def _datasource():
    source = {
        "name": "Prometheus",
        "uid": DATASOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": f"http://prometheus:{PROMETHEUS_PORT}",
        "isDefault": True,
        "editable": False,
        "jsonData": {"timeInterval": f"{SCRAPE_SECONDS}s"},
    }
    return {"apiVersion": 1, "datasources": [source]}


def _provider():
    provider = {"name": "packshot", "type": "file", "allowUiUpdates": False, "options": {"path": GRAFANA_BOARDS}}
    return {"apiVersion": 1, "providers": [provider]}


def _board(spec):
    def rate(metric, by, where=""):
        return f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"

    def quantiles(metric, by=""):
        grouped, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
        return [
            (f"histogram_quantile({q}, {rate(metric + '_bucket', grouped)}) / 1e6", f"p{q * 100:g}{legend}")
            for q in (0.5, 0.95, 0.99)
        ]

    answered = rate("envoy_http_downstream_rq_xx", "envoy_response_code_class", FROM_OUTSIDE)
    failing = f"{rate(REQUESTS, 'model_name', FAILED)} / {rate(REQUESTS, 'model_name')}"
    loads = f"sum by (model_path, status) ({LOADS})"
    rows = [
        ("Requests by status", "reqps", [(rate(REQUESTS, "model_name, status"), "{{model_name}} {{status}}")]),
        ("Share of requests the server fails", "percentunit", [(failing, "{{model_name}}")]),
        ("Latency of requests, waiting included", "s", quantiles(LATENCY, "model_name")),
        ("Time in the model", "s", quantiles(RUNTIME, "model_name")),
        ("Versions loaded since the server started", "short", [(loads, "{{model_path}} {{status}}")]),
        ("What Envoy answered", "reqps", [(answered, "{{envoy_response_code_class}}xx")]),
    ]
    if spec.batching_config:
        rows += [
            ("Waiting for a batch", "s", quantiles(QUEUEING)),
            ("Batches run", "ops", [(f"sum(rate({BATCHES}[$__rate_interval]))", "batches")]),
        ]
    source = {"type": "prometheus", "uid": DATASOURCE}
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": title,
            "datasource": source,
            "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
            "targets": [
                {"refId": "ABC"[i], "datasource": source, "expr": expression, "legendFormat": legend}
                for i, (expression, legend) in enumerate(queries)
            ],
        }
        for number, (title, unit, queries) in enumerate(rows)
    ]
    return {
        "uid": "packshot-serving",
        "title": "packshot: TensorFlow Serving",
        "tags": ["packshot"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }
