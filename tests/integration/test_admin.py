"""The admin listener: what the manager shows over HTTP, when, and to whom."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from support.admin import LOCAL, addresses, admin_url, connect_to, get, request
from support.apps import APPS
from support.control import done
from support.pool import MakePool, Pool
from support.processes import children
from support.responses import read_all, read_response
from support.server import Server, run_prefork, start_program, write_app
from support.upgrades import manager, serving
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text())
ADMIN = ("--admin", LOCAL)
TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 2,
    "check_spares_interval": 60,
}


def status_of(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(url, "/status.json"))
    return found


def values(url: str) -> dict[str, float]:
    """The metrics without labels."""
    text = get(url, "/metrics", Accept="application/openmetrics-text")
    return {
        sample.name: sample.value
        for family in read_open(text)
        for sample in family.samples
        if not sample.labels
    }


@contextlib.contextmanager
def watched(url: str, path: str = "/healthz") -> Iterator[list[str]]:
    """A client that asks again and again, each time on a new connection. What is no 200 goes to the list."""
    wrong: list[str] = []
    count = [0]
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                code, _, text = request(url, path)
            except OSError as error:
                wrong.append(repr(error))
            else:
                count[0] += 1
                if code != 200:
                    wrong.append(f"{code} {text}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield wrong
    finally:
        ended.set()
        thread.join()
    assert count[0] > 3


# --- the pages ---------------------------------------------------------------------------------------------


def test_health(pool: MakePool) -> None:
    url = admin_url(pool(*ADMIN, **TWO))
    code, fields, text = request(url, "/healthz")
    assert (code, text) == (200, "ok\n")
    assert fields["content-type"] == "text/plain"
    assert fields["cache-control"] == "no-store"
    assert request(url, "/readyz")[::2] == (200, "ready\n")
    code, fields, text = request(url, "/healthz", "HEAD")
    assert (code, fields["content-length"], text) == (200, "3", "")
    for path in ("/healthz/", "/healthz%0a", "/HEALTHZ", "//healthz", "/../healthz", "/x"):
        assert request(url, path)[0] == 404, path


def test_nothing_is_changed_and_no_body_is_kept(pool: MakePool) -> None:
    url = admin_url(pool(*ADMIN, **TWO))
    for method in ("POST", "PUT", "DELETE"):
        code, fields, _ = request(url, "/healthz", method, body=b"x" * 10)
        assert (code, fields["allow"]) == (405, "GET, HEAD")
    assert request(url, "/healthz", "POST", body=b"x" * (1 << 20))[0] in (405, 413)
    assert request(url)[0] == 200


def test_the_report_is_valid_against_its_schema_and_is_that_of_the_command(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    server.get("/one")
    server.hold(1)
    server.wait_active(1)
    report = status_of(url)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(report, SCHEMA)
    assert report.pop("version") == 1
    (active,) = (worker for worker in report["workers"] if worker["state"] == "active")
    assert active["request"]["path"] == "/hold"
    printed = json.loads(run_prefork("status", "--glue", str(server.glue), "--json").stdout)
    jsonschema.validate({"version": 1, **printed}, SCHEMA)
    assert printed.keys() == report.keys()
    assert printed["manager"].keys() == report["manager"].keys()
    assert printed["manager"]["pid"] == report["manager"]["pid"] == server.pid


def test_the_text_of_mod_status_and_that_for_people(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    server.get("/one")
    wait_until(lambda: len(server.workers("spare")) == 2, "both workers to be spare")
    found = dict(line.split(": ", 1) for line in get(url, "/status?auto").splitlines()[1:])
    assert int(found["Total Accesses"]) >= 1
    assert found["Scoreboard"] == "__"
    assert (found["BusyWorkers"], found["IdleWorkers"]) == ("0", "2")
    assert get(url, "/status?refresh=1&auto").count("Scoreboard: ") == 1
    assert f"manager {server.pid}" in get(url, "/status")


def test_metrics_in_both_formats(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    server.get("/one")
    wait_until(lambda: len(server.workers("spare")) == 2, "both workers to be spare")
    code, fields, text = request(
        url, "/metrics", Accept="application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
    )
    assert (code, fields["content-type"]) == (
        200,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )
    families = {family.name: family for family in read_open(text)}
    assert families["prefork_queue_wait_seconds"].type == "histogram"
    states = {sample.labels["state"]: sample.value for sample in families["prefork_workers"].samples}
    assert states == {"starting": 0, "spare": 2, "active": 0, "draining": 0, "stuck": 0}
    found = values(url)
    assert found["prefork_spare_workers"] == 2
    assert found["prefork_busy_ratio"] == 0
    assert found["prefork_requests_total"] >= 1
    code, fields, text = request(url, "/metrics")
    assert (code, fields["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    names = {sample.name for family in read_plain(text) for sample in family.samples}
    assert found.keys() <= names


def test_no_counter_goes_back_when_a_worker_ends(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    for _ in range(20):
        server.get("/one")
    server.wait_idle()
    before = values(url)
    assert before["prefork_requests_total"] >= 20
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: values(url)["prefork_spare_workers"] == 2, "new workers")
    after = values(url)
    lower = [
        name for name in before if name.endswith(("_total", "_count", "_sum")) and after[name] < before[name]
    ]
    assert lower == []


# --- when --------------------------------------------------------------------------------------------------


def test_it_responds_while_all_workers_are_stuck(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    server.hold(2)
    server.wait_active(2)
    assert get(url, "/healthz") == "ok\n"
    assert status_of(url)["totals"]["active"] == 2
    assert get(url, "/readyz") == "ready\n"  # they work
    assert values(url)["prefork_busy_ratio"] == 1


def test_stopped_workers_are_no_ready_ones(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    server.hold(2)
    server.wait_active(2)
    for pid in server.workers():
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: request(url, "/readyz")[0] == 503, "all of them to be stuck")
    assert request(url, "/readyz")[2] == "not ready: of 2 workers none is ready: 2 stuck\n"
    assert get(url, "/healthz") == "ok\n"
    assert (
        dict(line.split(": ", 1) for line in get(url, "/status?auto").splitlines()[1:])["Scoreboard"] == "WW"
    )
    for pid in server.workers():
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: request(url, "/readyz")[0] == 200, "them to run again")


def test_it_responds_while_the_pool_drains_and_ends_with_it(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    server.hold(1)
    server.wait_active(1)
    with connect_to(url) as kept, connect_to(url) as stream:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_response(kept)[0] == 200
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(15) == b"HTTP/1.1 200 OK"
        server.signal(signal.SIGTERM)
        wait_until(lambda: request(url, "/readyz")[0] == 503, "the pool to drain")
        assert "the server is stopping" in request(url, "/readyz")[2]
        assert get(url, "/healthz") == "ok\n"
        report = status_of(url)
        assert report["manager"]["stopping"]
        assert report["totals"]["in_flight"] == 1
        server.release()
        assert server.wait() == 0
        assert kept.recv(1) == b""
        assert read_all(stream).endswith(b"\r\n0\r\n\r\n")
    assert [line for line in server.err if "did not end" in line or "ERROR" in line] == []


def test_it_is_not_ready_while_the_server_does_not_listen(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    server.manager("server.stop_listen()")
    code, _, text = request(url, "/readyz")
    assert (code, text) == (503, "not ready: the server does not listen\n")
    server.manager("server.start_listen()")
    wait_until(lambda: request(url, "/readyz")[0] == 200, "a worker")


def test_before_the_first_worker_is_ready(pool: MakePool) -> None:
    begins = {
        "app": "pool_boot.py",
        "parameters": {"begin": "waits for go"},
        "fork_handlers": {"PAGES": "begin"},
    }
    server = pool(*ADMIN, ready=False, **begins, **TWO)
    url = admin_url(server)
    wait_until(lambda: server.totals["starting"] == 2, "the forks")
    code, _, text = request(url, "/readyz")
    assert (code, text) == (503, "not ready: of 2 workers none is ready: 2 starting\n")
    assert get(url, "/healthz") == "ok\n"
    (server.directory / "go").touch()
    wait_until(lambda: request(url, "/readyz")[0] == 200, "a worker")


def test_a_reload_is_not_noticed(tmp_path: Path) -> None:
    with serving(tmp_path, *ADMIN) as server:
        url = admin_url(server)
        with watched(url) as wrong:
            done(server, "reload")
        assert wrong == []
        assert status_of(url)["manager"]["generation"] == 2


def test_a_reload_does_not_move_it_and_an_upgrade_does(tmp_path: Path) -> None:
    config = tmp_path / "prefork.toml"
    config.write_text(f'admin = "unix:{tmp_path}/first.sock"')
    with serving(tmp_path, "--config", str(config)) as server:
        first, second = (f"unix:{tmp_path}/{name}.sock" for name in ("first", "second"))
        config.write_text(f'admin = "{second}"')
        done(server, "reload")
        server.wait_log("reload: admin has changed, which takes a restart")
        assert admin_url(server) == first
        assert request(first)[0] == 200
        assert "has taken over" in done(server, "upgrade")
        wait_until(lambda: _is_ready(second), "the new manager")
        assert server.process.wait(10) == 0
        with pytest.raises(FileNotFoundError):
            connect_to(first)


@pytest.mark.parametrize("address", [LOCAL, "unix:admin.sock"])
def test_an_upgrade_refuses_no_client(tmp_path: Path, address: str) -> None:
    with serving(tmp_path, "--admin", address) as server:
        url = admin_url(server)
        with watched(url) as wrong:
            for _ in range(2):
                former = manager(server)
                assert "has taken over" in done(server, "upgrade")
                wait_until(lambda: status_of(url)["manager"]["pid"] != former, "the new manager to respond")  # noqa: B023
        assert wrong == []
        assert admin_url(server) == url
        assert server.process.wait(10) == 0
        assert request(url)[0] == 200
        assert done(server, "stop")
        assert not os.path.exists(tmp_path / "admin.sock")


def test_an_upgrade_completes_what_is_streamed(tmp_path: Path) -> None:
    with serving(tmp_path, *ADMIN) as server, connect_to(admin_url(server)) as stream:
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(15) == b"HTTP/1.1 200 OK"
        assert "has taken over" in done(server, "upgrade")
        assert read_all(stream).endswith(b"\r\n0\r\n\r\n")
        assert server.process.wait(10) == 0
        assert [line for line in server.err if "ERROR" in line or "did not end" in line] == []


def test_an_upgrade_that_fails_leaves_the_listener_as_it_was(tmp_path: Path) -> None:
    with serving(tmp_path, *ADMIN) as server:
        url = admin_url(server)
        write_app(tmp_path, "raise RuntimeError('broken')")
        with watched(url) as wrong:
            assert run_prefork("upgrade", "--glue", str(server.glue)).returncode == 1
        assert wrong == []
        assert status_of(url)["manager"]["pid"] == server.pid


# --- whose -------------------------------------------------------------------------------------------------


def tree(pid: int) -> list[int]:
    below = children(pid)
    return [*below, *(one for child in below for one in tree(child))]


def sockets(pid: int) -> set[str]:
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return {link for link in found if link.startswith("socket:")}


def at_port(port: int) -> set[str]:
    """All sockets with that local port, as /proc/PID/fd has them."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            found.add(f"socket:[{fields[9]}]")
    return found


@pytest.mark.parametrize("is_program", [False, True], ids=["mold", "program"])
def test_no_process_of_the_pool_inherits_its_sockets(
    pool: MakePool, tmp_path: Path, is_program: bool
) -> None:
    with contextlib.ExitStack() as stack:
        server: Server = pool(*ADMIN, **TWO) if is_program else stack.enter_context(serving(tmp_path, *ADMIN))
        url = admin_url(server)
        with connect_to(url) as kept:
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_response(kept)[0] == 200
            done(server, "scale", "--workers", "4")
            if not is_program:
                done(server, "reload")
            wait_until(lambda: len(server.workers("spare")) == 4, "more workers")
            ours = at_port(int(url.rpartition(":")[2]))
            assert len(sockets(server.pid) & ours) >= 2
            assert len(tree(server.pid)) >= 4
            assert [pid for pid in tree(server.pid) if sockets(pid) & ours] == []


def test_a_taken_address_is_one_line_and_status_2(pool: MakePool, tmp_path: Path) -> None:
    url = admin_url(pool("--admin", f"unix:{tmp_path}/admin.sock", *ADMIN, **TWO))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for address in (f"127.0.0.1:{taken.getsockname()[1]}", url):
            found = run_prefork(
                "serve", str(APPS / "wsgi_path.py"), "--bind", "127.0.0.1:0", "--admin", address
            )
            assert found.returncode == 2
            (line,) = found.stderr.splitlines()
            assert line.startswith("prefork: cannot listen on")
            assert "Address already in use" in line


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--admin", "0.0.0.0:0"], "other machines may reach 0.0.0.0:"),
        (["--admin", "0"], "needs admin_token_file"),
        (["--admin", "localhost"], "expected host:port, [IPv6]:port or unix:/path, got 'localhost'"),
        (["--admin", "unix:@name"], "expected host:port, [IPv6]:port or unix:/path"),
        (["--admin", "127.0.0.1:0,tls"], "without tls, proxy and reuse_port"),
        (["--admin", "unix:admin.sock", "--admin-token-file", "/dev/null"], "there is none"),
        (["--admin", "127.0.0.1:0", "--admin-token-file", "/nowhere"], "cannot be read: No such file"),
        (["--admin", "127.0.0.1:0", "--start", "0"], "with start_servers 0 there is none"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(tmp_path: Path, flags: list[str], says: str) -> None:
    found = run_prefork("serve", str(APPS / "wsgi_path.py"), "--bind", "127.0.0.1:0", *flags, cwd=tmp_path)
    assert found.returncode == 2
    (line,) = [line for line in found.stderr.splitlines() if "WARNING" not in line]
    assert line.startswith("prefork: ")
    assert says in line
    assert not (tmp_path / "admin.sock").exists()


@pytest.mark.parametrize(("setting", "mode"), [("", 0o600), (",mode=660", 0o660)])
def test_a_unix_socket_is_its_users_unless_it_says_otherwise(
    pool: MakePool, tmp_path: Path, setting: str, mode: int
) -> None:
    server = pool("--admin", f"unix:admin.sock{setting}", **TWO)
    path = tmp_path / "admin.sock"
    assert admin_url(server) == f"unix:{path}"
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert found.st_mode & 0o777 == mode
    assert get(f"unix:{path}", "/healthz", Host="anything") == "ok\n"
    assert server.stop() == 0
    assert not path.exists()


def test_several_addresses_and_ipv6(pool: MakePool) -> None:
    server = pool(*ADMIN, "--admin", "unix:admin.sock", "--admin", "[::1]:0", **TWO)
    urls = addresses(server)
    assert len(urls) == 3
    for url in urls:
        assert get(url, "/healthz") == "ok\n"


def test_a_page_of_another_site_cannot_read_it(pool: MakePool) -> None:
    server = pool(*ADMIN, **TWO)
    url = admin_url(server)
    for _ in range(3):
        code, fields, text = request(url, "/status.json", Host="evil.example:9900")
        assert code == 403
        assert "expected localhost" in text
    assert fields["cross-origin-resource-policy"] == "same-origin"
    assert request(url, Host="localhost:1")[0] == 200
    server.wait_log("is refused")
    assert len([line for line in server.err if "is refused" in line]) == 1


def test_a_token(pool: MakePool, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret\n")
    token.chmod(0o644)
    server = pool("--admin", "0.0.0.0:0", "--admin", "unix:admin.sock", "--admin-token-file", "token", **TWO)
    url = admin_url(server).replace("0.0.0.0", "127.0.0.1")
    for given in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer a-secret2"}):
        code, fields, _ = request(url, "/metrics", **given)
        assert code == 401
        assert fields["www-authenticate"].startswith("Bearer")
    assert get(url, "/status", Authorization="Bearer a-secret")
    assert (get(url, "/healthz"), get(url, "/readyz")) == ("ok\n", "ready\n")
    assert request(url, "/healthz/")[0] == request(url, "/x/healthz")[0] == 401
    assert get(f"unix:{tmp_path}/admin.sock", "/healthz") == "ok\n"
    server.wait_log("is refused")
    assert "a-secret" not in server.log
    assert "other" not in server.log.partition("is refused")[2]


@pytest.mark.parametrize(
    "flags",
    [ADMIN, ("--agent-check", "127.0.0.1:0"), (*ADMIN, "--agent-check", "127.0.0.1:0")],
    ids=["admin", "agent check", "both"],
)
def test_a_token_that_others_can_read_is_one_line(
    pool: MakePool, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret\n")
    token.chmod(0o644)
    server = pool(*flags, "--admin-token-file", "token", **TWO)
    assert server.log.count("every user of this machine can read the token") == 1


# --- programs, and those without ---------------------------------------------------------------------------

PROGRAM = """
import os
from prefork import Kernel, PreForkServer

kernel = Kernel()
for name in ("A", "B"):
    server = PreForkServer(
        kernel, alias=name, address="127.0.0.1", port=0, start_servers=1, min_spare_servers=1,
        max_spare_servers=1, max_clients=2, ipc_glue=f"{name}-GLUE", admin=f"unix:{name}.sock",
    )
    server.handle("^/$")(lambda: "served")

def look():
    if os.path.exists("stop"):
        os.remove("stop")
        kernel.stop()
    else:
        kernel.loop.call_later(0.01, look)

server.on_serving.append(lambda _: look())
for _ in range(2):
    kernel.run()
    print("ended", [session.alias for session in kernel.sessions], flush=True)
"""


def test_pools_of_a_program_in_each_of_its_runs(tmp_path: Path) -> None:
    glue = f"t{os.getpid()}"
    write_app(tmp_path, PROGRAM.replace("GLUE", glue))
    server = Server(start_program(str(tmp_path / "app.py"), cwd=tmp_path))
    try:
        for _ in range(2):
            for name in "AB":
                url = f"unix:{tmp_path}/{name}.sock"
                wait_until(lambda: _is_ready(url), "a worker")  # noqa: B023
                assert status_of(url)["manager"]["glue"] == f"{name}-{glue}"
            (tmp_path / "stop").touch()
            wait_until(lambda: not (tmp_path / "stop").exists(), "the end of the run")
        assert server.wait() == 0
        assert server.out == ["ended ['A', 'B']"] * 2
        assert server.err == []
    finally:
        server.kill()


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError):
        return request(url, "/readyz")[0] == 200
    return False


def test_a_manager_without_it_has_no_module_of_it(pool: MakePool) -> None:
    server: Pool = pool(**TWO)
    loaded = server.manager("[name for name in __import__('sys').modules if 'admin' in name]")
    assert not {name for name in loaded if re.search(r"listener|view|routes|access|metrics", name)}
    from prefork.pool.scoreboard import open_scoreboard

    board, _, about = open_scoreboard(str(server.glue))
    board.close()
    assert "admin" not in about
