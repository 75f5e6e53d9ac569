"""The files of deploy/ are what the programs that read them expect. test_fleet.py sees what they do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from support.deploy import DEPLOY
from support.proxies import HAPROXY, needs_haproxy

KUBERNETES = DEPLOY / "kubernetes"
OLDEST, NEWEST = "1.25", "1.37"

# Of the two kinds that are not of Kubernetes itself: what is used of them, from the API references of the
# Prometheus Operator (monitoring.coreos.com/v1) and KEDA (keda.sh/v1alpha1).
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
SECRET_KEY = {
    "type": "object",
    "required": ["key"],
    "additionalProperties": False,
    "properties": {"name": {"type": "string"}, "key": {"type": "string"}, "optional": {"type": "boolean"}},
}
DURATION = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}


def resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": version},
            "kind": {"const": kind},
            "metadata": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}, "labels": LABELS},
            },
            "spec": spec | {"type": "object", "additionalProperties": False},
        },
    }


POD_MONITOR = resource(
    "monitoring.coreos.com/v1",
    "PodMonitor",
    {
        "required": ["selector", "podMetricsEndpoints"],
        "properties": {
            "selector": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"matchLabels": LABELS},
            },
            "podMetricsEndpoints": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "port": {"type": "string"},
                        "path": {"type": "string"},
                        "interval": DURATION,
                        "scrapeTimeout": DURATION,
                        "authorization": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {"type": {"type": "string"}, "credentials": SECRET_KEY},
                        },
                    },
                },
            },
        },
    },
)
POLICIES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "policies": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value", "periodSeconds"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["Percent", "Pods"]},
                    "value": {"type": "integer", "minimum": 1},
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                },
            },
        },
    },
}
SCALED_OBJECT = resource(
    "keda.sh/v1alpha1",
    "ScaledObject",
    {
        "required": ["scaleTargetRef", "triggers"],
        "properties": {
            "scaleTargetRef": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {name: {"type": "string"} for name in ("apiVersion", "kind", "name")},
            },
            "minReplicaCount": {"type": "integer", "minimum": 0},
            "maxReplicaCount": {"type": "integer", "minimum": 1},
            "pollingInterval": {"type": "integer", "minimum": 1},
            "cooldownPeriod": {"type": "integer", "minimum": 0},
            "fallback": {
                "type": "object",
                "required": ["failureThreshold", "replicas"],
                "additionalProperties": False,
                "properties": {"failureThreshold": {"type": "integer"}, "replicas": {"type": "integer"}},
            },
            "advanced": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "horizontalPodAutoscalerConfig": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "behavior": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {"scaleUp": POLICIES, "scaleDown": POLICIES},
                            }
                        },
                    }
                },
            },
            "triggers": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["type", "metadata"],
                    "additionalProperties": False,
                    "properties": {
                        "type": {"const": "prometheus"},
                        "metricType": {"enum": ["AverageValue", "Value"]},
                        "metadata": {
                            "type": "object",
                            "required": ["serverAddress", "query", "threshold"],
                            "additionalProperties": False,
                            "properties": {
                                name: {"type": "string"}
                                for name in ("serverAddress", "query", "threshold", "activationThreshold")
                            },
                        },
                    },
                },
            },
        },
    },
)
OTHERS = {"PodMonitor": POD_MONITOR, "ScaledObject": SCALED_OBJECT}


def documents() -> Iterator[Any]:
    for file in sorted(KUBERNETES.glob("*.yaml")):
        for number, document in enumerate(yaml.safe_load_all(file.read_text())):
            yield pytest.param(document, id=f"{file.stem}-{number}")


def manifest(kind: str) -> Any:
    (found,) = (
        document
        for file in KUBERNETES.glob("*.yaml")
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == kind
    )
    return found


def validate(document: Any) -> None:
    """Raises ValidationError, also for a name that the API does not have."""
    if (schema := OTHERS.get(document["kind"])) is not None:
        jsonschema.validate(document, schema)
        return
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("document", list(documents()))
def test_each_manifest_is_valid(document: Any) -> None:
    validate(document)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "spec.template.spec.containers.0.readinesProbe"),
        ("Deployment", "spec.template.spec.containers.0.lifecycle.preStop.exec.cmd"),
        ("Service", "spec.port"),
        ("PodDisruptionBudget", "spec.maxUnavailble"),
        ("PodMonitor", "spec.podMetricsEndpoints.0.tokenFile"),
        ("ScaledObject", "spec.triggers.0.metadata.treshold"),
    ],
)
def test_a_name_that_the_api_does_not_have_is_found(kind: str, path: str) -> None:
    document = found = manifest(kind)
    *steps, name = path.split(".")
    for step in steps:
        found = found[int(step)] if isinstance(found, list) else found[step]
    found[name] = "x"
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        validate(document)


def test_manifests_name_each_other() -> None:
    deployment = manifest("Deployment")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels, ports = pod["metadata"]["labels"], {port["name"]: port for port in container["ports"]}
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["ports"][0]["targetPort"] in ports
    monitor = manifest("PodMonitor")["spec"]
    assert monitor["selector"]["matchLabels"] == labels
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in ports
    (secret,) = (volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume)
    assert endpoint["authorization"]["credentials"]["name"] == secret["secretName"]
    target = manifest("ScaledObject")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("readiness", "startup", "liveness")]
    assert {probe["port"] for probe in probes} <= ports.keys()
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_a_pod_has_time_to_end() -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (*_, command) = container["lifecycle"]["preStop"]["exec"]["command"]
    found = re.fullmatch(r"sleep (\d+); prefork drain --timeout (\d+)", command)
    assert found
    (graceful,) = (argument for argument in container["args"] if argument.startswith("--graceful-timeout="))
    graceful_s = int(graceful.partition("=")[2])
    assert int(found[2]) >= graceful_s
    assert pod["terminationGracePeriodSeconds"] > int(found[1]) + int(found[2]) + graceful_s + 2


def test_the_server_takes_the_arguments_of_the_deployment() -> None:
    from prefork.config.checked import options_of
    from prefork.config.options import PreForkOptions, ServeOptions

    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    flags = {option.flag for kind in (PreForkOptions, ServeOptions) for option in options_of(kind).values()}
    assert {argument.partition("=")[0] for argument in container["args"]} <= flags
    assert container["command"][:2] == ["prefork", "serve"]


# --- the page ----------------------------------------------------------------------------------------------

PAGE = DEPLOY.parent / "docs" / "deployment.md"


def test_the_page_names_each_file() -> None:
    files = {str(file.relative_to(DEPLOY)) for file in DEPLOY.rglob("*") if file.is_file()}
    named = set(re.findall(r"`([\w./-]+)`", PAGE.read_text().partition("\n## ")[0]))
    assert len(files) > 10
    assert {file for file in files if not named & {file, file.partition("/")[0] + "/"}} == set()
    assert {name for name in named if "." in name and not name.startswith("shop.")} <= files


def test_the_lines_that_the_page_explains_are_in_the_file_of_nginx() -> None:
    table = PAGE.read_text().partition("| line | reason |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    lines = [line for row in rows for line in re.findall(r"`(.+?)`", row)]
    assert len(lines) > 6
    text = (DEPLOY / "nginx.conf").read_text()
    assert [line for line in lines if line not in text] == []


# --- HAProxy -----------------------------------------------------------------------------------------------


@needs_haproxy
def test_haproxy_takes_its_configuration() -> None:
    command = [str(HAPROXY), "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    done = subprocess.run(
        command,
        env=os.environ | {"PREFORK_TOKEN": "x"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr


# --- Prometheus, Grafana, OpenTelemetry --------------------------------------------------------------------

PROMTOOL = shutil.which("promtool")


def promtool(*arguments: str) -> str:
    if PROMTOOL is None:
        assert not os.environ.get("CI"), ".ci/run installs promtool"
        pytest.skip("needs promtool")
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[dict[str, Any]]:
    found = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_prometheus_takes_the_alerts() -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool(
        "check", "rules", str(DEPLOY / "prometheus-alerts.yml")
    )


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    page = (DEPLOY.parent / "docs" / "fleet.md").read_text()
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f"`{rule['alert']}`" in page


def test_prometheus_takes_what_the_collector_scrapes(tmp_path: Path) -> None:
    collector = yaml.safe_load((DEPLOY / "otel-collector.yaml").read_text())
    scraped = collector["receivers"]["prometheus"]["config"]
    (job,) = scraped["scrape_configs"]
    token = tmp_path / "token"
    token.write_text("x")
    job["authorization"]["credentials_file"] = str(token)
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(scraped))
    promtool("check", "config", str(file))


def test_the_collector_passes_on_what_it_scrapes() -> None:
    collector = yaml.safe_load((DEPLOY / "otel-collector.yaml").read_text())
    (pipeline,) = collector["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == collector[kind].keys()
    assert pipeline["processors"][0] == "memory_limiter"  # its documentation wants it first


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= names
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))  # none covers another


def test_prometheus_takes_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """As rules: promtool parses an expression nowhere else."""
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"r:{number}", "expr": re.sub(r"\$__rate_interval", "1m", expression)}
        for number, expression in enumerate(expressions)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", str(file))
