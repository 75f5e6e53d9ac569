"""The commands that change a running pool: each returns when that is done."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.apps import APPS
from support.control import ask, command, connect_to, control_path, done
from support.pool import MakePool, pid_serving
from support.server import Serve, run_prefork, write_app
from support.waiting import wait_until

TWO = {
    "start_servers": 2,
    "min_spare_servers": 2,
    "max_spare_servers": 2,
    "max_clients": 4,
    "check_spares_interval": 60,
}


# --- scale -----------------------------------------------------------------------------------------------


def test_scale_returns_when_the_pool_has_its_size(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    said = done(server, "scale", "--min-spare", "5", "--max-spare", "6", "--max-clients", "8")
    assert (
        f"pool {server.glue}: min_spare 5, max_spare 6, max_clients 8: 5 workers, 5 of them spare (" in said
    )
    assert len(server.workers("spare")) == 5
    limits = server.status()["manager"]
    assert (limits["min_spare"], limits["max_spare"], limits["max_clients"]) == (5, 6, 8)
    assert server.manager("server.options.max_clients") == 8
    # Of surplus spares one retires each interval, but those beyond max_clients at once.
    assert "2 workers, 2 of them spare" in done(server, "scale", "--workers", "2")
    server.wait_workers(2)


def test_what_was_scaled_holds_for_requests(pool: MakePool) -> None:
    server = pool(**TWO)
    done(server, "scale", "--max-clients", "6")
    server.hold(4)
    server.wait_active(4)
    server.wait_spares(2)
    assert len(server.release()) == 4


def test_scale_reports_what_waits_for_requests(pool: MakePool) -> None:
    server = pool(**TWO | {"check_spares_interval": 0.1})
    server.hold(3)
    server.wait_active(3)
    said = done(server, "scale", "--max-clients", "2", "--timeout", "0.3")
    assert "max_clients 2: 3 workers, 0 of them spare; 1 more are added or retired, when" in said
    assert len(server.release()) == 3
    server.wait_workers(2)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "expected --min-spare, --max-spare, --max-clients or --workers"),
        (("--max-clients", "0"), "max_clients: expected a whole number from 1 to 65535, or auto, got 0"),
        (
            ("--max-clients", "9999"),
            "max_clients: expected at most 40, because the scoreboard of this pool has",
        ),
        (("--max-clients", "many"), "'many' is not a valid integer"),
    ],
)
def test_a_wrong_limit_changes_nothing(pool: MakePool, flags: tuple[str, ...], says: str) -> None:
    server = pool(**TWO)
    refused = command(server, "scale", *flags)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert server.status()["manager"]["max_clients"] == 4


def test_scale_fails_if_no_worker_starts(pool: MakePool) -> None:
    server = pool(**TWO)
    server.manager("server.change_fork_handlers({'PAGES': 'one'})")  # it takes arguments: the boot fails
    failed = command(server, "scale", "--workers", "4")
    assert failed.returncode == 1
    assert "workers cannot be forked, do not start, or end at once" in failed.stderr
    assert server.status()["manager"]["max_clients"] == 4
    assert server.get("/one") == b"one"


def test_a_pool_of_one_that_grows_has_guards(pool: MakePool) -> None:
    server = pool("--workers", "1")
    (only,) = server.wait_workers(1)
    assert len(os.listdir(f"/proc/{only}/task")) == 1
    done(server, "scale", "--workers", "2")
    wait_until(lambda: only not in server.workers(), "the first one is replaced")
    for pid in server.wait_workers(2):
        assert len(os.listdir(f"/proc/{pid}/task")) == 2


def test_a_reload_keeps_what_was_scaled_unless_its_source_has_changed(serve: Serve, tmp_path: Path) -> None:
    settings = tmp_path / "prefork.toml"
    settings.write_text('workers = 2\nlog_level = "info"\n')
    server = serve("def app(environ, start_response): ...", "--config", str(settings))
    done(server, "scale", "--workers", "3")
    done(server, "log-level", "error")
    done(server, "reload")
    assert len(server.workers("spare")) == 3
    assert "max_clients 3" in done(server, "scale", "--min-spare", "3")
    settings.write_text('workers = 1\nlog_level = "info"\n')
    done(server, "reload")
    limits = server.status()["manager"]
    assert (limits["max_clients"], limits["log_level"]) == (1, 40)
    settings.write_text('workers = 1\nlog_level = "debug"\n')
    done(server, "reload")
    assert server.status()["manager"]["log_level"] == 10


def test_an_application_of_one_worker_that_grows_has_guards(serve: Serve) -> None:
    server = serve("def app(environ, start_response): ...", "--workers", "1")
    (only,) = server.workers()
    done(server, "scale", "--workers", "2")

    def are_guarded() -> bool:
        """One that was spawned before the others are replaced has no guard, and is replaced too."""
        pids = server.workers("spare")
        tasks = [len(os.listdir(f"/proc/{pid}/task")) for pid in pids]
        return only not in server.workers() and tasks == [2, 2]

    wait_until(are_guarded, "two workers with guards")


# --- recycle and reload ----------------------------------------------------------------------------------


def test_recycle_replaces_every_worker_and_no_client_sees_it(pool: MakePool) -> None:
    server = pool(**TWO)
    old = set(server.wait_workers(2))
    with server.connect() as client:
        assert pid_serving(client) in old
        assert re.search(r": \d workers replaced \(", done(server, "recycle", "--all"))
        assert old.isdisjoint(server.workers("starting", "spare", "active"))
        assert pid_serving(client) not in old


def test_recycle_replaces_one_worker(pool: MakePool) -> None:
    server = pool(**TWO)
    first, second = server.wait_workers(2)
    assert ": 1 workers replaced (" in done(server, "recycle", str(first))
    server.wait_without([first])
    assert second in server.wait_workers(2)
    refused = command(server, "recycle", str(first))
    assert refused.returncode == 2
    assert f"{first} is no worker of this pool; its workers: " in refused.stderr
    for wrong in ((), ("--all", str(second))):
        assert command(server, "recycle", *wrong).returncode == 2
    assert ask(control_path(server), "recycle", pids=["1"])["status"] == 2
    assert ask(control_path(server), "recycle", pids=[True])["status"] == 2


def test_recycle_keeps_what_runs_if_nothing_can_replace_it(pool: MakePool) -> None:
    server = pool(**TWO)
    old = set(server.wait_workers(2))
    server.manager("server.change_fork_handlers({'PAGES': 'one'})")
    failed = command(server, "recycle", "--all")
    assert failed.returncode == 1
    assert "so 2 are not replaced yet" in failed.stderr
    assert old <= set(server.workers())
    assert server.get("/one") == b"one"


def test_a_command_that_takes_too_long_has_begun(pool: MakePool) -> None:
    server = pool(**TWO)
    server.manager("server.change_fork_handlers({'PAGES': 'forked_slowly'})")
    server.manager("pages.on('forked_slowly', lambda: asyncio.sleep(1))")
    late = command(server, "recycle", "--all", "--timeout", "0.2")
    assert late.returncode == 1
    assert "begun, and it goes on: 2 of 2 workers are not replaced yet" in late.stderr


# --- drain, resume, stop ---------------------------------------------------------------------------------


def test_drain_ends_every_worker_and_resume_serves_again(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    held = server.hold(1, "/hold")
    server.wait_active(1)
    late = command(server, "drain", "--timeout", "0.2")
    assert late.returncode == 1
    assert re.search(r"begun, and it goes on: \d workers finish their requests", late.stderr)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))
    assert len(server.release()) == len(held)
    assert "no client is accepted until `prefork resume`" in done(server, "drain")
    assert server.workers() == []
    assert "none while the server does not listen" in done(server, "explain")
    assert "the pool has no workers now, by `prefork drain`" in done(server, "scale", "--max-clients", "5")
    assert command(server, "recycle", "--all").returncode == 1
    said = done(server, "resume")
    assert f"listening on {server.url}, 2 workers spare" in said
    assert server.get("/one") == b"one"
    assert f"listening on {server.url}" in done(server, "resume")  # again: nothing changes


def test_resume_gives_up_a_drain_that_lasts(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1)
    server.wait_active(1)
    with ThreadPoolExecutor() as threads:
        drain = threads.submit(command, server, "drain")
        wait_until(lambda: server.totals["workers"] == 1, "a drain")
        assert f"listening on {server.url}, 2 workers spare" in done(server, "resume")
        late = drain.result()
    assert (late.returncode, "given up, because the server listens again" in late.stderr) == (1, True)
    assert server.get("/one") == b"one"
    (held,) = server.workers("active")
    assert len(server.release()) == 1
    server.wait_without([held])
    assert not [line for line in server.err if " CRITICAL " in line or " ERROR " in line]


def test_an_application_is_served_again_after_a_drain(serve: Serve) -> None:
    server = serve(
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'here']\n",
        *("--workers", "2", "--request-timeout", "10"),
    )
    for _ in range(2):
        done(server, "drain")
        assert f"listening on {server.url}, 2 workers spare" in done(server, "resume")
        assert server.get() == b"here"
    assert "CRITICAL" not in server.log


def test_resume_says_that_the_address_is_taken(pool: MakePool) -> None:
    server = pool(**TWO)
    done(server, "drain")
    with socket.create_server((server.host, server.port)):
        failed = command(server, "resume")
    assert failed.returncode == 1
    assert "an address is in use (the log says which)" in failed.stderr
    wait_until(lambda: server.workers("spare"), "it listens by itself")


def test_stop_returns_when_the_process_has_ended(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1)
    server.wait_active(1)
    late = command(server, "stop", "--timeout", "0.2")
    assert late.returncode == 1
    assert re.search(
        r"begun, and it goes on: \d workers finish their requests \(after 0\.\d+ s\)$", late.stderr
    )
    server.release()
    assert server.wait() == 0


def test_stop_now_during_a_stop_ends_those_that_finish(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1)
    server.wait_active(1)
    assert command(server, "stop", "--timeout", "0.2").returncode == 1
    wait_until(lambda: len(server.workers()) == 1, "the other worker to have ended")
    assert ": stopped, 1 workers have ended (" in done(server, "stop", "--now")
    assert server.wait() == 0


def test_stop_is_done_when_its_process_has_ended(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    assert ": stopped, 2 workers have ended (" in done(server, "stop")
    assert server.wait() == 0
    assert re.search(r"prefork\.control: stop \(pid \d+, user \d+\): stopped, 2 workers have", server.log)


def test_stop_now_lets_no_request_finish(pool: MakePool) -> None:
    server = pool(**TWO)
    (held,) = server.hold(1)
    server.wait_active(1)
    done(server, "stop", "--now")
    assert server.process.poll() == 0
    assert held.recv(100) == b""


def test_a_command_whose_server_stops_meanwhile_fails(pool: MakePool) -> None:
    server = pool(**TWO)
    server.hold(3)
    server.wait_active(3)
    with connect_to(control_path(server)) as sock:
        request = {"version": 1, "command": "scale", "arguments": {"max_clients": 1}, "timeout_s": 60}
        sock.sendall(json.dumps(request).encode() + b"\n")
        wait_until(lambda: server.status()["manager"]["max_clients"] == 1, "it is begun")
        server.signal(signal.SIGQUIT)
        last = sock.makefile().readlines()[-1]
    assert json.loads(last)["error"] == "the server has stopped meanwhile"


def test_a_program_that_goes_on_after_its_server_is_reported(tmp_path: Path) -> None:
    source = "\n".join(
        (
            "import time",
            "from prefork import Kernel, PreForkServer",
            "kernel = Kernel()",
            "server = PreForkServer(kernel, address='127.0.0.1', port=0, ipc_glue='goes-on')",
            "server.on_serving.append(lambda server: print('serving', server.url, flush=True))",
            "kernel.run()",
            "print('goes on', flush=True)",
            "time.sleep(60)",
        )
    )
    (tmp_path / "program.py").write_text(source)
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("serving")
        stopped = run_prefork("stop", "--glue", "goes-on")
        assert stopped.returncode == 0
        assert f"its process {program.pid} goes on" in stopped.stdout
    finally:
        program.kill()
        program.communicate()


# --- handlers --------------------------------------------------------------------------------------------


def test_handlers_are_shown_and_set(pool: MakePool, tmp_path: Path) -> None:
    server = pool(**TWO)
    shown = json.loads(done(server, "handlers"))
    assert {"dir": "^/one(/.*)?$", "session": "PAGES", "event": "one"} in shown
    assert server.get("/one") == b"one"
    assert "prefork.control: handlers" not in server.log, "nothing is changed"
    changed = [entry | {"event": "two"} if entry["event"] == "one" else entry for entry in shown]
    (tmp_path / "handlers.json").write_text(json.dumps(changed))
    said = done(server, "handlers", "--set", str(tmp_path / "handlers.json"), "--replace")
    assert re.search(rf"{len(shown)} handlers set for new workers, \d workers replaced", said)
    assert "prefork.control: handlers" in server.log
    assert server.get("/one") == b"two"
    assert json.loads(done(server, "handlers")) == changed


def test_a_function_is_shown_with_the_module_of_its_file(serve: Serve, tmp_path: Path) -> None:
    source = """
        from prefork import Kernel, PreForkServer

        server = PreForkServer(Kernel())

        @server.handle("^/")
        def pay():
            return "paid"
        """
    server = serve(write_app(tmp_path, source, "shop.py"), "--workers", "1")
    assert json.loads(done(server, "handlers")) == [{"dir": "^/", "function": "shop:pay"}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "expected a list in JSON"),
        ("{}", "expected a list in JSON in handlers.json, got dict"),
        ('[{"dir": "("}]', "handler 0: "),
        ('[{"dir": "/", "session": "NONE", "event": "x"}]', "NONE"),
        ('[{"dir": "/", "function": "os:abort"}]', "handler 0: "),
    ],
)
def test_wrong_handlers_change_nothing(pool: MakePool, tmp_path: Path, text: str, says: str) -> None:
    server = pool(**TWO)
    (tmp_path / "handlers.json").write_text(text)
    assert server.glue
    refused = run_prefork("handlers", "--glue", server.glue, "--set", "handlers.json", cwd=tmp_path)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert server.get("/one") == b"one"


def test_fork_handlers_are_shown_and_set(pool: MakePool, tmp_path: Path) -> None:
    server = pool(fork_handlers={"PAGES": "forked"}, **TWO)
    assert json.loads(done(server, "fork-handlers")) == {"PAGES": "forked"}
    (tmp_path / "events.json").write_text('{"PAGES": "forked_slowly"}')
    done(server, "fork-handlers", "--set", str(tmp_path / "events.json"), "--replace")
    assert "forked slowly in" in server.worker("pages.forks[-1]")
    (tmp_path / "events.json").write_text('{"PAGES": "nothing"}')
    refused = command(server, "fork-handlers", "--set", str(tmp_path / "events.json"))
    assert refused.returncode == 2
    assert "fork_handlers: " in refused.stderr


def test_an_application_has_no_handlers(serve: Serve) -> None:
    server = serve(APPS / "wsgi_path.py", "--workers", "1")
    refused = command(server, "handlers")
    assert refused.returncode == 2
    assert "it has no handlers: it serves an application" in refused.stderr
    assert command(server, "fork-handlers").returncode == 2


# --- explain ---------------------------------------------------------------------------------------------


def test_explain_shows_the_last_decisions_and_why(pool: MakePool) -> None:
    server = pool(**TWO)
    server.wait_workers(2)
    server.hold(1)
    server.wait_workers(3)
    server.wait_spares(2)
    said = done(server, "explain").partition("\nlast decisions:\n")[2].splitlines()
    assert [re.split(r" {2,}", line.strip(), maxsplit=2)[1:] for line in said] == [
        ["+2", "the pool begins: start_servers 2"],
        ["+1", "1 spare of 2 missing"],
    ]
    victim = server.workers("spare")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: f"worker {victim} ended: killed by SIGKILL" in done(server, "explain"), "its end")
    found = json.loads(done(server, "explain", "--json"))["result"]
    server.wait_spares(2)
    assert {"age_s", "change", "why"} == set(found["decisions"][0])
    for _ in range(5):
        done(server, "recycle", "--all")
    assert "last decisions: (and " in done(server, "explain")
    everything = done(server, "explain", "--all").partition("last decisions:\n")[2]
    assert "recycled" in everything
    server.release()


def test_explain_says_why_the_pool_does_not_grow(pool: MakePool) -> None:
    server = pool(**TWO)
    server.hold(4)
    server.wait_active(4)
    said = done(server, "explain")
    assert "4 workers, maximum 4: 0 starting, 0 spare, 4 active" in said
    assert "max_clients is reached: no worker is added before another one ends" in said
    found = json.loads(done(server, "explain", "--json"))
    assert found["result"]["workers"]["active"] == 4
    assert found["result"]["next"]["overcommit"] is True
    server.release()


# --- log-level and stacks --------------------------------------------------------------------------------

TALK = "__import__('logging').getLogger('prefork.test').debug('said at level debug in %d', os.getpid())"
LEVEL = "__import__('logging').getLogger('prefork').level"


def test_log_level_reaches_workers_that_run_and_those_that_come(pool: MakePool) -> None:
    server = pool(**TWO)
    old = server.wait_workers(2)
    server.worker(TALK)
    server.manager(TALK)
    assert "said at level debug" not in server.log
    said = done(server, "log-level", "debug")
    assert "the log shows debug and above, in the manager and its workers (" in said
    server.manager(TALK)
    server.wait_log(f"said at level debug in {server.pid}")
    wait_until(lambda: server.worker(LEVEL) == 10, "it is told")
    server.worker(TALK)
    wait_until(lambda: any(f"debug in {pid}" in server.log for pid in server.workers()), "it logs")
    done(server, "log-level", "error")
    assert command(server, "recycle", "--all").returncode == 0
    server.wait_without(old)
    assert server.worker(LEVEL) == 40
    assert command(server, "log-level", "loud").returncode == 2
    assert ask(control_path(server), "log-level", level="loud")["status"] == 2


def test_stacks_of_a_worker_that_is_stuck(pool: MakePool) -> None:
    server = pool(**TWO)
    server.hold(1)
    server.wait_active(1)
    (stuck,) = server.workers("active")
    said = done(server, "stacks", str(stuck))
    assert "Current thread 0x" in said
    assert 'pool_app.py", line ' in said
    assert " in hold" in said
    again = json.loads(done(server, "stacks", str(stuck), "--json"))
    assert again["result"]["pid"] == stuck
    assert again["result"]["stacks"].count("Current thread") == 1
    assert "Current thread" not in server.log
    assert len(server.release()) == 1


def test_stacks_of_an_idle_worker_and_of_one_that_keeps_the_gil(pool: MakePool) -> None:
    server = pool(**TWO)
    first = server.wait_workers(2)[0]
    assert "Current thread 0x" in done(server, "stacks", str(first))
    with server.connect() as sock:
        pid = pid_serving(sock)
        # PyDLL keeps the GIL: no Python runs in that worker until this returns.
        sock.sendall(b"GET /do?ctypes.PyDLL(None).sleep(4) HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: pid in server.workers("active"), "it is in C")
        assert "pool_app.py" in done(server, "stacks", str(pid))
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_stacks_of_an_asgi_worker_show_its_tasks(serve: Serve, loop: str) -> None:
    server = serve(APPS / "asgi_waits.py", "--workers", "1", "--lifespan", "off", "--loop", loop)
    (worker,) = server.workers()
    with server.connect() as first, server.connect() as second, server.connect() as third:
        for sock, path in ((first, "event"), (second, "event"), (third, "task")):
            sock.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: server.status()["workers"][0]["in_flight"] == 3, "they wait")
        said = done(server, "stacks", str(worker))
        again = json.loads(done(server, "stacks", str(worker), "--json"))["result"]
    assert 'Task "request" and 1 more (most recent call first):\n  waits for Future\n' in said
    assert re.search(r'asgi_waits\.py", line \d+ in wait_for_event\n .*, line \d+ in app\n', said)
    assert 'Task "a name\\nof \\x1b[31mtwo lines" (most recent call first):\n  waits for task "inner"' in said
    assert "Current thread 0x" in again["stacks"]
    assert "wait_for_task" in again["tasks"]
    assert again["why_no_tasks"] is None


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_stacks_of_a_loop_that_is_blocked(serve: Serve, loop: str, tmp_path: Path) -> None:
    server = serve(APPS / "asgi_waits.py", "--workers", "1", "--lifespan", "off", "--loop", loop)
    (worker,) = server.workers()
    with server.connect() as sock:
        sock.sendall(b"GET /sleeps?4 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.status()["workers"][0]["in_flight"], "it sleeps")
        found = json.loads(done(server, "stacks", str(worker), "--json"))["result"]
        assert 'Task "request" (most recent call first):\n  runs now' in found["tasks"]
        assert sock.recv(100).startswith(b"HTTP/1.1 200"), "it goes on"
        os.mkfifo(tmp_path / "pipe")
        sock.sendall(f"GET /native?{tmp_path}/pipe HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: server.status()["workers"][0]["in_flight"], "it is in C")
        said = done(server, "stacks", str(worker))
        assert "asgi_waits.py" in said
        assert said.endswith("\nno tasks: its main thread does not come to run Python: see its stack")
        (tmp_path / "pipe").write_text("x")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        found = json.loads(done(server, "stacks", str(worker), "--json"))["result"]
        assert found["tasks"] == "no asyncio tasks"


def test_stacks_of_a_process_that_cannot_write_them(pool: MakePool) -> None:
    server = pool(**TWO)
    first, second = server.wait_workers(2)
    assert f"{server.pid} is no worker of this pool" in command(server, "stacks", str(server.pid)).stderr
    os.kill(first, signal.SIGSTOP)
    try:
        failed = command(server, "stacks", str(first), "--timeout", "0.5")
        assert failed.returncode == 1
        assert f"worker {first} writes nothing: it is stopped, or waits for a disk" in failed.stderr
        assert "Current thread 0x" in done(server, "stacks", str(second))
    finally:
        os.kill(first, signal.SIGCONT)


def test_a_worker_that_does_not_handle_the_signals_is_not_sent_them(pool: MakePool) -> None:
    server = pool(more="import faulthandler, signal", **TWO)
    with server.connect() as sock:
        pid = pid_serving(sock)
        handled = "[signal.signal(one,signal.SIG_DFL)for(one)in(60,62)]"
        sock.sendall(f"GET /do?{handled} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        said = done(server, "stacks", str(pid))
        assert said.endswith("\nno tasks: it ends, or its program handles signals itself")
        code = "faulthandler.unregister(63)"
        sock.sendall(f"GET /do?{code} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert "cannot be asked" in command(server, "stacks", str(pid)).stderr
        assert f"worker {pid} cannot be told" in done(server, "log-level", "info")
        assert pid_serving(sock) == pid


# --- how it is shown -------------------------------------------------------------------------------------


def test_json_lines_have_progress_and_the_result(pool: MakePool) -> None:
    server = pool(**TWO)
    server.manager("server.change_fork_handlers({'PAGES': 'forked_slowly'})")
    server.manager("pages.on('forked_slowly', lambda: asyncio.sleep(0.3))")
    lines = [json.loads(line) for line in done(server, "recycle", "--all", "--json").splitlines()]
    assert lines[0] == {"progress": {"done": 0, "total": 2, "text": "0 of 2 workers replaced"}}
    assert (lines[-1]["ok"], lines[-1]["result"]) == (True, {"replaced": 2})
    assert lines[-1]["took_s"] > 0.5
    failed = command(server, "recycle", "1", "--json")
    assert failed.returncode == 2
    assert json.loads(failed.stdout)["ok"] is False


def test_a_terminal_gets_a_bar(pool: MakePool) -> None:
    server = pool(**TWO)
    server.manager("server.change_fork_handlers({'PAGES': 'forked_slowly'})")
    server.manager("pages.on('forked_slowly', lambda: asyncio.sleep(0.5))")
    assert server.glue
    leader, terminal = pty.openpty()
    arguments = [sys.executable, "-m", "prefork", "recycle", "--all", "--glue", server.glue]
    shown = subprocess.Popen(arguments, stdout=terminal, stderr=terminal, env=os.environ | {"TERM": "xterm"})
    os.close(terminal)
    text = b""
    while True:
        try:
            text += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    assert shown.wait() == 0
    assert b"of 2 workers replaced" in text
    assert b": 2 workers replaced (" in text
