"""The mold: a process that loads the application and forks the workers, and what a reload makes of it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefork.pool.worker_signals import catches
from support.processes import alive, children
from support.server import Server, run_prefork, running, write_app
from support.waiting import wait_until

APP = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"first %d" % os.getppid()]
"""

sizes = itertools.count(1)


@contextlib.contextmanager
def serving(directory: Path, source: str = APP, *flags: str) -> Iterator[Server]:
    app = write_app(directory, source)
    with running(str(app), "--bind", "127.0.0.1:0", "--workers", "2", *flags, cwd=directory) as server:
        yield server


def molds(server: Server) -> list[int]:
    """Its children that are no workers."""
    return [pid for pid in children(server.pid) if pid not in server.workers()]


def mold(server: Server) -> int:
    wait_until(lambda: len(molds(server)) == 1, "one mold")
    return molds(server)[0]


def write(directory: Path, old: str, new: str) -> None:
    """Changes the application. Its size is another one: the cache of the interpreter knows nothing else of a
    file that changes twice in a second.
    """
    write_app(directory, APP.replace(old, new) + "#" * next(sizes))


def test_workers_are_children_of_the_manager_and_the_mold_serves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.get() == b"first %d" % server.pid
        assert mold(server) not in server.workers()
        assert server.stop() == 0
    assert "ERROR" not in server.log


def test_the_manager_does_not_import_the_application(tmp_path: Path) -> None:
    source = APP + "open(f'imported-{os.getpid()}', 'w').close()\n"
    with serving(tmp_path, source) as server:
        assert [path.name for path in tmp_path.glob("imported-*")] == [f"imported-{mold(server)}"]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
def test_a_mold_that_dies_is_made_again_and_the_workers_live_on(tmp_path: Path, signum: int) -> None:
    with serving(tmp_path) as server:
        first, workers = mold(server), server.workers()
        os.kill(first, signum)
        server.wait_log("the application is loaded again")
        assert mold(server) != first
        assert server.workers() == workers
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: len(set(server.workers()) - {workers[0]}) == 2, "another worker")
        assert server.get().startswith(b"first")
        assert server.stop() == 0


def test_a_signal_to_the_group_is_for_the_manager(tmp_path: Path) -> None:
    """A terminal, and systemd, signal every process."""
    with serving(tmp_path) as server:
        pid = mold(server)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(pid, signum)
        assert server.get().startswith(b"first")
        assert mold(server) == pid
        assert server.stop() == 0
    assert not alive(pid)


def test_a_worker_that_begins_is_ended_by_term_whatever_the_application_handles(tmp_path: Path) -> None:
    """It would call the application's handler, and start all the same."""
    source = APP + "import signal, sys\nsignal.signal(15, lambda *_: print('heard', file=sys.stderr))\n"
    with serving(tmp_path, source) as server:
        assert not catches(mold(server), signal.SIGTERM)
        os.kill(server.workers()[0], signal.SIGTERM)
        server.wait_log("heard")
        assert server.stop() == 0


def test_no_mold_outlives_a_manager_that_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        pid = mold(server)
        server.kill()
        wait_until(lambda: not alive(pid), "its end")


@pytest.mark.parametrize(
    ("source", "status", "told"),
    [
        ("import nothere\n", 2, "could not be loaded"),
        ("import sys\nsys.exit(5)\n", 2, "ended while it was loaded: SystemExit: 5"),
        ("import os\nos._exit(5)\n", 3, "loads the application has ended: exit status 5"),
        ("import os\nos.kill(os.getpid(), 9)\n", 3, "killed by SIGKILL"),
    ],
    ids=["import error", "sys.exit", "os._exit", "killed"],
)
def test_an_application_that_cannot_be_loaded_ends_the_server(
    tmp_path: Path, source: str, status: int, told: str
) -> None:
    app = write_app(tmp_path, source)
    done = run_prefork("serve", str(app), "--bind", "127.0.0.1:0")
    assert done.returncode == status
    assert told in done.stderr.splitlines()[-1]
    assert "cannot spawn" not in done.stderr


def test_an_import_that_hangs_is_told_with_its_place(tmp_path: Path) -> None:
    app = write_app(tmp_path, "import time\ntime.sleep(1000)\n")
    done = run_prefork("serve", str(app), "--bind", "127.0.0.1:0", "--boot-timeout", "1")
    assert done.returncode == 3
    assert "was not loaded within boot_timeout (1 s)" in done.stderr.splitlines()[-1]
    assert f'File "{app}", line 2' in done.stderr


# --- reload ----------------------------------------------------------------------------------------------


def test_a_reload_brings_new_code(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        first, workers = mold(server), server.workers()
        write(tmp_path, "first", "second")
        server.signal(signal.SIGHUP)
        server.wait_log("every worker is of generation 2")
        assert server.get().startswith(b"second")
        server.wait_without(workers)
        assert mold(server) != first
        assert not alive(first)
        assert server.stop() == 0
    assert "ERROR" not in server.log


@pytest.mark.parametrize(
    ("old", "new", "flags", "told"),
    [
        (
            "import os",
            "import nothere",
            (),
            "cannot be loaded: .* ModuleNotFoundError",
        ),
        ("import os", "import sys; sys.exit(5)", (), "SystemExit: 5"),
        ("import os", "import os; os._exit(7)", (), "exit status 7"),
        (
            "import os",
            "import time; time.sleep(99)",
            ("--boot-timeout", "1"),
            "was not loaded within",
        ),
        ("    start", "    1 / 0; start", ("--ready-path", "/"), "ZeroDivisionError"),
    ],
    ids=["import error", "sys.exit", "os._exit", "hangs", "not ready"],
)
def test_new_code_that_fails_leaves_the_old_one_serving(
    tmp_path: Path, old: str, new: str, flags: tuple[str, ...], told: str
) -> None:
    with serving(tmp_path, APP, *flags) as server:
        first, workers = mold(server), server.workers()
        write(tmp_path, old, new)
        server.signal(signal.SIGHUP)
        server.wait_log("generation 1 serves on")
        assert re.search(f"reload: .*{told}", server.log)
        assert (mold(server), server.workers()) == (first, workers)
        assert server.get().startswith(b"first")
        # The old code still makes workers.
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: len(set(server.workers()) - {workers[0]}) == 2, "another worker")
        write(tmp_path, "first", "third")
        server.signal(signal.SIGHUP)
        server.wait_log("every worker is of generation 2")
        assert server.get().startswith(b"third")
        assert server.stop() == 0


def test_a_second_reload_takes_the_place_of_one_that_loads(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        write(tmp_path, "import os", "import os, time; time.sleep(99)")
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(molds(server)) == 2, "the mold of the first reload")
        write(tmp_path, "first", "second")
        server.signal(signal.SIGHUP)
        server.wait_log("every worker is of generation 2")
        assert "another reload takes its place" in server.log
        assert server.get().startswith(b"second")
        mold(server)
        assert server.stop() == 0


def test_a_reload_reads_the_options_again(tmp_path: Path) -> None:
    config = tmp_path / "prefork.toml"
    config.write_text('root_path = "/a"\nmin_spare = 1\n')
    app = write_app(tmp_path, "def app(e, s):\n    s('200 OK', [])\n    return [e['SCRIPT_NAME'].encode()]\n")
    with running(str(app), "--bind", "127.0.0.1:0", "--start", "2", "-c", str(config)) as server:
        assert server.get("/a/x") == b"/a"
        config.write_text('root_path = "/b"\nbind = "127.0.0.1:1"\nmin_spare = 4\nmax_spare = 5\n')
        server.signal(signal.SIGHUP)
        server.wait_log("every worker is of generation 2")
        assert server.get("/b/x") == b"/b"
        assert "has changed" not in server.log, "the command line says where it listens"
        wait_until(lambda: len(server.workers("spare")) >= 4, "more spares")
        config.write_text("nothing = 1\n")
        server.signal(signal.SIGHUP)
        server.wait_log("unknown option 'nothing'")
        assert server.get("/b/x") == b"/b"
        assert server.stop() == 0


def test_term_while_new_code_loads_stops_the_server(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        write(tmp_path, "import os", "import time; time.sleep(99)")
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(molds(server)) == 2, "the mold of the reload")
        pids = molds(server)
        assert server.stop() == 0
        assert not any(map(alive, pids))
        assert "ERROR" not in server.log


# --- canary ----------------------------------------------------------------------------------------------

CANARY = ("--workers", "4", "--canary", "25%", "--canary-window", "1")


def keep_asking(server: Server, condition: Callable[[], bool], what: str) -> None:
    """Sends requests until the condition is true."""

    def asked() -> bool:
        list(clients.map(server.request, ["/"] * 40))
        return condition()

    with concurrent.futures.ThreadPoolExecutor(8) as clients:  # one after the other, one worker gets all
        wait_until(asked, what, deadline_s=60)


def generations(server: Server) -> list[int]:
    return sorted(
        worker["generation"] for worker in server.status()["workers"] if worker["state"] != "draining"
    )


def test_new_code_that_serves_as_well_replaces_the_old(tmp_path: Path) -> None:
    with serving(tmp_path, APP, *CANARY) as server:
        write(tmp_path, "first", "second")
        server.signal(signal.SIGHUP)
        wait_until(lambda: generations(server) == [1, 1, 1, 2], "the canary")
        keep_asking(server, lambda: "every worker is of generation 2" in server.log, "the end of the canary")
        assert "canary: generation 2 serves as well" in server.log
        assert server.get().startswith(b"second")
        assert server.stop() == 0


def test_new_code_that_fails_requests_is_rolled_back(tmp_path: Path) -> None:
    with serving(tmp_path, APP, *CANARY) as server:
        first = mold(server)
        write(tmp_path, "    start_response(", "    raise ValueError(")
        server.signal(signal.SIGHUP)
        keep_asking(server, lambda: "the canary rolls back" in server.log, "the end of the canary")
        wait_until(lambda: generations(server) == [1, 1, 1, 1], "the old code")
        assert mold(server) == first
        assert "generation 1 serves on" in server.log
        for _ in range(20):
            assert server.get().startswith(b"first")
        assert server.stop() == 0


def test_clients_that_come_one_after_the_other_reach_the_new_workers(tmp_path: Path) -> None:
    with serving(tmp_path, APP, "--workers", "4", "--canary", "25%", "--canary-window", "60") as server:
        write(tmp_path, "first", "second")
        server.signal(signal.SIGHUP)
        wait_until(lambda: generations(server) == [1, 1, 1, 2], "the canary")
        found = [server.get()[:6] for _ in range(40)]
        assert 5 <= found.count(b"second") <= 20
        assert server.status()["manager"]["takes_turns"] is True
        write(tmp_path, "import os", "import nothere")
        server.signal(signal.SIGHUP)  # takes the place of the one that compares, and fails
        wait_until(lambda: server.status()["manager"]["takes_turns"] is False, "the end of the canary")
        assert server.stop() == 0


# --- without an application in the mold ------------------------------------------------------------------


def test_without_preload_each_worker_loads_the_application(tmp_path: Path) -> None:
    source = APP + "open(f'imported-{os.getpid()}', 'w').close()\n"
    with serving(tmp_path, source, "--no-preload") as server:
        names = {f"imported-{pid}" for pid in server.workers()}
        assert {path.name for path in tmp_path.glob("imported-*")} == names
        write(tmp_path, "first", "second")
        server.signal(signal.SIGHUP)
        server.wait_log("every worker is of generation 2")
        assert server.get().startswith(b"second")
        write(tmp_path, "import os", "import nothere")
        server.signal(signal.SIGHUP)
        server.wait_log("generation 2 serves on")
        assert "No module named 'nothere'" in server.log
        assert server.get().startswith(b"second")
        assert server.stop() == 0


def test_without_preload_an_application_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    app = write_app(tmp_path, "import nothere\n")
    done = run_prefork("serve", str(app), "--bind", "127.0.0.1:0", "--no-preload")
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.endswith("could not be loaded: ModuleNotFoundError: No module named 'nothere'"), last
    assert "prefork/" not in done.stderr, "the traceback is that of the application"


def test_workers_that_hang_in_a_lock_of_the_mold_bring_a_hint(tmp_path: Path) -> None:
    """A thread of the application has a lock while the mold forks, and no worker has that thread."""
    source = APP + (
        "import threading\nlock = threading.Lock()\nlock.acquire()\ndef begin():\n    lock.acquire()\n"
    )
    flags = ("--worker-start", "app:begin", "--boot-timeout", "1", "--boot-failures", "2", "--workers", "1")
    app = write_app(tmp_path, source)
    done = run_prefork("serve", str(app), "--bind", "127.0.0.1:0", *flags)
    assert done.returncode == 3
    assert "2 workers have waited for a lock" in done.stderr
    assert "--no-preload" in done.stderr


def test_a_queue_that_a_worker_shuts_down_is_another_one_for_the_next_workers_of_a_mold(
    tmp_path: Path,
) -> None:
    source = (
        "import os, socket\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    if environ['PATH_INFO'] == '/shut':\n"
        "        for name in os.listdir('/proc/self/fd'):\n"
        "            try:\n"
        "                one = socket.socket(fileno=os.dup(int(name)))\n"
        "            except OSError:\n"
        "                continue\n"
        "            if one.type == socket.SOCK_SEQPACKET:\n"
        "                one.shutdown(socket.SHUT_RDWR)\n"
        "    return [b'hi']\n"
    )
    with serving(tmp_path, source) as server:
        old = set(server.workers())
        server.get("/shut")
        server.wait_log("a worker has shut down the queue of the pool")
        wait_until(
            lambda: len(server.workers("spare")) == 2 and old.isdisjoint(server.workers()), "new workers"
        )
        assert server.get() == b"hi"
        assert server.log.count("shut down the queue") == 1
        assert server.stop() == 0


def test_what_the_manager_imports_for_a_hook_is_new_code_after_a_reload_too(tmp_path: Path) -> None:
    hook = "def died(pid, status):\n    pass\n"
    source = APP.replace("import os", "import os, hooks").replace('b"first %d"', 'hooks.NAME + b" %d"')
    (tmp_path / "hooks.py").write_text(hook + 'NAME = b"first"\n')
    with serving(tmp_path, source, "--worker-died", "hooks:died") as server:
        assert server.get().startswith(b"first")
        (tmp_path / "hooks.py").write_text(hook + 'NAME = b"second"\n')
        server.signal(signal.SIGHUP)
        server.wait_log("every worker is of generation 2")
        assert server.get().startswith(b"second")
        assert server.stop() == 0


def test_a_factory_of_a_program_is_no_application(tmp_path: Path) -> None:
    source = (
        "from prefork import Kernel, PreForkServer\n"
        "def make():\n"
        "    server = PreForkServer(Kernel(), address='127.0.0.1', port=0)\n"
        "    server.handle('^/')(lambda: 'a program')\n"
        "    return server\n"
    )
    app = write_app(tmp_path, source)
    with socket.socket() as taken:  # the default is no address of this program
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # or another program has it
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        with running(f"{app}:make", "--factory") as server:
            assert server.get() == b"a program"
            assert server.stop() == 0
