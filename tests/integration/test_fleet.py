"""Two nodes behind HAProxy, with the file of deploy/: what clients notice of a node that drains or dies."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from statistics import median

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from support import tls
from support.admin import get
from support.control import done
from support.deploy import DEPLOY
from support.fleet import Clients, Fleet
from support.pool import MakePool
from support.proxies import needs_haproxy
from support.waiting import DEADLINE_S, wait_until


def in_turn(text: str) -> str:
    """By the weights alone: what HAProxy itself knows of open requests decides nothing."""
    assert text.count("balance leastconn") == 1
    return text.replace("balance leastconn", "balance roundrobin")


@needs_haproxy
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_node_that_drains_fails_no_request(tmp_path: Path, method: str) -> None:
    with (
        Fleet(tmp_path, (4, 4)).running() as fleet,
        Clients(fleet.port, 4, seconds=0.01, method=method) as clients,
    ):
        one, two = fleet.nodes
        clients.more(20, one, two)
        for _ in range(2):
            assert one.server
            done(one.server, "drain")
            fleet.wait_state(one, "MAINT")
            assert one.line() == "maint\n"
            assert clients.more(40, two)[one.name] <= 4  # what had begun
            done(one.server, "resume")
            fleet.wait_state(one, "UP")
            clients.more(20, one, two)
        assert clients.failed == []


@needs_haproxy
def test_a_node_that_stops_and_comes_back_fails_no_request(tmp_path: Path) -> None:
    with (
        Fleet(tmp_path, (4, 4)).running() as fleet,
        Clients(fleet.port, 4, seconds=0.01) as clients,
    ):
        one, two = fleet.nodes
        clients.more(20, one, two)
        assert one.server
        assert one.server.stop() == 0
        fleet.wait_state(one, "DOWN", "DRAIN", "MAINT")
        clients.more(40, two)
        one.start()
        fleet.wait_state(one, "UP")
        clients.more(20, one, two)
        assert clients.failed == []


@needs_haproxy
def test_a_node_that_is_killed_costs_no_more_than_what_it_had(tmp_path: Path) -> None:
    """GETs are sent again, POSTs are not: of these, those are lost that were sent before its last process was
    gone.
    """
    with (
        Fleet(tmp_path, (4, 4)).running() as fleet,
        Clients(fleet.port, 4, seconds=0.02) as reading,
        Clients(fleet.port, 4, seconds=0.02, method="POST") as writing,
    ):
        one, two = fleet.nodes
        for clients in (reading, writing):
            clients.more(20, one, two)
        assert one.server
        os.kill(one.server.pid, signal.SIGKILL)
        wait_until(lambda: not one.is_listening, "the node to be gone")
        gone_s = time.monotonic()
        fleet.wait_state(one, "DOWN")
        for clients in (reading, writing):
            clients.more(40, two)
        assert reading.failed == []
        assert [lost for lost in writing.failed if lost.began_s > gone_s] == []
        failed = len(writing.failed)
        one.start()
        fleet.wait_state(one, "UP")
        for clients in (reading, writing):
            clients.more(20, one, two)
        assert (len(reading.failed), len(writing.failed)) == (0, failed)


@needs_haproxy
def test_the_work_follows_the_spares(tmp_path: Path) -> None:
    """Nodes of 2 and 8 workers, of which HAProxy knows nothing: both have the weight 100 there.

    Seven clients. By equal weights each node has half of the requests, and three of the clients wait for the
    small one: its responses take more than twice as long.
    """
    with (
        Fleet(tmp_path, (2, 8), edit=in_turn).running() as fleet,
        Clients(fleet.port, 7, seconds=0.1) as clients,
    ):
        small, large = fleet.nodes

        def is_even() -> bool:
            recent = clients.outcomes[-200:]
            took = {node: [one.took_s for one in recent if one.node == node.name] for node in fleet.nodes}
            if len(recent) < 200 or not all(took.values()):
                return False
            share = len(took[small]) / len(recent)
            return 0.05 < share < 0.4 and median(took[small]) < 1.5 * median(took[large])

        wait_until(is_even, "the work to go where workers are free", 2 * DEADLINE_S)
        assert fleet.weight(small) < fleet.weight(large)
        assert clients.failed == []


def test_the_file_names_each_word_of_the_page() -> None:
    """docs/fleet.md explains the lines of the file."""
    page = (DEPLOY.parent / "docs" / "fleet.md").read_text().partition("## HAProxy")[2].partition("\n## ")[0]
    text = re.sub(r"10\.0\.0\.1[12]:8000 weight 100 ", "", (DEPLOY / "haproxy.cfg").read_text())
    lines = re.findall(r"^\| `([^`]+)` \|", page.partition("What clients notice")[0], re.MULTILINE)
    assert len(lines) > 6
    assert [line for line in lines if line not in text] == []


# --- what is watched ---------------------------------------------------------------------------------------

NAME = re.compile(r"\b((?:prefork|http_server|process)_[a-z_]+)\b")


def names_in(expression: str) -> set[str]:
    """The metrics of an expression of PromQL: what is in quotes or a matcher is none."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}', "", expression)
    return set(NAME.findall(re.sub(r"label_values\(", "(", bare)))


def watched() -> dict[str, set[str]]:
    """Each metric that a file of deploy/ names, and the files."""
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    alerts = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())
    scaling = yaml.safe_load((DEPLOY / "kubernetes" / "autoscaling.yaml").read_text())
    variables = [one["definition"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    expressions = {
        "grafana.json": [
            *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
            *(annotation["expr"] for annotation in dashboard["annotations"]["list"]),
            *variables,
        ],
        "prometheus-alerts.yml": [rule["expr"] for group in alerts["groups"] for rule in group["rules"]],
        "autoscaling.yaml": [one["metadata"]["query"] for one in scaling["spec"]["triggers"]],
    }
    found: dict[str, set[str]] = {}
    for file, texts in expressions.items():
        for text in texts:
            for name in names_in(text):
                found.setdefault(name, set()).add(file)
    return found


def test_each_metric_that_is_watched_is_one_that_the_server_has(pool: MakePool, tmp_path: Path) -> None:
    found = watched()
    assert {"prefork_busy_ratio", "prefork_queue_wait_seconds_bucket"} <= found.keys()
    assert set.union(*found.values()) == {"grafana.json", "prometheus-alerts.yml", "autoscaling.yaml"}
    server = pool("--admin", f"unix:{tmp_path}/admin", *tls.OPTIONS)
    server.get("/one")
    text = get(f"unix:{tmp_path}/admin", "/metrics")
    exposed = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert {name: files for name, files in found.items() if name not in exposed} == {}


def test_a_label_that_is_watched_is_one_that_the_server_has(pool: MakePool, tmp_path: Path) -> None:
    files = [DEPLOY / name for name in ("grafana.json", "prometheus-alerts.yml")]
    pairs = {
        pair for file in files for pair in re.findall(r'\b(code|state|limit)=\\?"([^"\\]+)', file.read_text())
    }
    assert pairs >= {("code", "5xx"), ("state", "stuck")}
    pool("--admin", f"unix:{tmp_path}/admin")
    text = get(f"unix:{tmp_path}/admin", "/metrics")
    exposed = {
        pair
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for pair in sample.labels.items()
    }
    assert pairs <= exposed
