"""What a process waits for, as /proc tells it: real processes of one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from prefork.pool import waits
from prefork.pool.waits import Wait, parent_of, threads_of, wait_of
from support.waiting import wait_until


@contextmanager
def python(source: str) -> Iterator[int]:
    """A process that runs it. Its pid."""
    with subprocess.Popen([sys.executable, "-S", "-c", source]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("source", "wait"),
    [
        ("while True: pass", Wait("runs", "runs")),
        ("import time; time.sleep(60)", Wait("sleep", "sleeps")),
        (
            "import _thread; lock = _thread.allocate_lock(); lock.acquire(); lock.acquire()",
            Wait("lock", "waits for a lock"),
        ),
        ("import select; select.epoll().poll()", Wait("idle", "waits for events of its connections")),
        ("import select; select.poll().poll()", Wait("file", "waits for a socket or a pipe")),
        (
            "import os\nif not os.fork():\n    import time\n    time.sleep(2)\nelse: os.wait()",
            Wait("child", "waits for a child process"),
        ),
        (
            "import os; r, w = os.pipe(); os.dup2(r, 40); os.read(40, 1)",
            Wait("file", "waits for a pipe (descriptor 40)"),
        ),
    ],
)
def test_what_a_process_does(source: str, wait: Wait) -> None:
    with python(source) as pid:
        wait_until(lambda: wait_of(pid) == wait, f"it {wait.text}")


def test_a_socket_is_named_by_its_other_end() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        source = f"import socket; socket.create_connection(('127.0.0.1', {port})).recv(1)"
        expected = Wait("file", f"waits for 127.0.0.1:{port} (a socket)")
        with python(source) as pid:
            wait_until(lambda: wait_of(pid) == expected, "it to wait for the server")


def test_a_stopped_process_says_how_it_goes_on() -> None:
    with python("while True: pass") as pid:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: wait_of(pid).kind == "stopped", "it to stop")
        assert wait_of(pid).text == f"is stopped by a signal; `kill -CONT {pid}` lets it go on"


def test_other_threads_are_counted_by_what_they_do() -> None:
    over = threading.Event()
    before = threads_of(os.getpid())["waits for a lock"]
    waiting = [threading.Thread(target=over.wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: threads_of(os.getpid())["waits for a lock"] == before + 3, "three that wait")
    over.set()
    for thread in waiting:
        thread.join()


def test_the_place_in_the_kernel_is_used_where_no_more_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = tmp_path / "7" / "task" / "7"
    directory.mkdir(parents=True)
    monkeypatch.setattr(waits, "PROC", tmp_path)
    (directory / "stat").write_text("7 (a) b) ) S 1 7")
    (directory / "wchan").write_text("futex_wait_queue")
    assert wait_of(7) == Wait("lock", "waits for a lock")
    (directory / "wchan").write_text("p9_client_rpc")
    assert wait_of(7) == Wait("unknown", "waits (in p9_client_rpc)")
    (directory / "wchan").write_text("0")
    assert wait_of(7) == Wait("unknown", "waits")
    (directory / "stat").write_text("7 (a) b) ) D 1 7")
    (directory / "wchan").write_text("nfs_wait_bit_killable")
    assert wait_of(7) == Wait("disk", "waits for a disk or a device (in nfs_wait_bit_killable)")


def test_one_that_is_not_there_has_ended() -> None:
    assert wait_of(2**22 + 1) == Wait("ended", "has ended")
    assert parent_of(2**22 + 1) is None
    assert threads_of(2**22 + 1) == {}
    assert parent_of(os.getpid()) == os.getppid()
