"""An application that starts threads before the fork is told so: no worker has them."""

from __future__ import annotations

import ctypes.util

import pytest

from support.apps import APPS
from support.server import Serve

OPENMP = pytest.mark.skipif(ctypes.util.find_library("gomp") is None, reason="this machine has no OpenMP")


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("Python", "thread 'flusher' of threads_at_import"),
        pytest.param("OpenMP", "OpenMP of libgomp", marks=OPENMP),
    ],
)
def test_it_is_named_in_one_line(serve: Serve, kind: str, named: str) -> None:
    server = serve(APPS / "threads_at_import.py", "--workers", "2", parameters={"kind": kind})
    assert server.get("/") == b"ok"
    assert named in server.wait_log("forking while other threads run, which no worker has")
    assert len(server.err) == 1


def test_workers_log_although_a_thread_of_the_manager_always_does(serve: Serve) -> None:
    options = ("--workers", "4", "--graceful-timeout", "5")
    server = serve(APPS / "threads_at_import.py", *options, parameters={"kind": "logging"})
    for _ in range(8):
        assert server.get("/") == b"ok"
    assert server.stop() == 0  # each worker flushes what it logs to
    assert not any("killing worker" in line for line in server.err)
