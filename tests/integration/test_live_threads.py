"""An application that starts threads before the fork is told so: no worker has them."""

from __future__ import annotations

import ctypes.util

import pytest

from support.apps import APPS
from support.server import Serve

OPENMP = pytest.mark.skipif(ctypes.util.find_library("gomp") is None, reason="this machine has no OpenMP")


@pytest.mark.parametrize(
    ("kind", "named"),
    [("Python", "thread 'flusher' of threading"), pytest.param("OpenMP", "OpenMP of libgomp", marks=OPENMP)],
)
def test_it_is_named_in_one_line(serve: Serve, kind: str, named: str) -> None:
    server = serve(APPS / "threads_at_import.py", "--workers", "2", parameters={"kind": kind})
    assert server.get("/") == b"ok"
    assert named in server.wait_log("forking while other threads run, which no worker has")
    assert len(server.err) == 1
