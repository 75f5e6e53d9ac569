"""An application that logs through a queue has its listener in each worker."""

from __future__ import annotations

import signal

from support.apps import APPS
from support.server import Serve

APP = APPS / "wsgi_queue_log.py"


def test_what_each_worker_logs_is_written_once(serve: Serve) -> None:
    server = serve(APP, "--workers", "2")
    served = {f"/{number}": server.get(f"/{number}").decode() for number in range(20)}
    for path, pid in served.items():
        assert server.wait_log(f"served {path}") == f"queued {pid} served {path}"
    server.signal(signal.SIGHUP)
    server.wait_log("every worker is of generation 2")
    pid = server.get("/after").decode()
    server.wait_log(f"queued {pid} served /after")
    assert server.stop() == 0
    queued = [line for line in server.err if line.startswith("queued")]
    assert len(queued) == len(set(queued)) == 20 + 1 + 2  # and `loaded` of two molds
    assert "forking while other threads run" not in server.log


def test_a_sandbox_holds_for_the_listener_as_well(serve: Serve) -> None:
    server = serve(APP, "--workers", "1", "--sandbox", "on")
    pid = server.get("/").decode()
    server.wait_log(f"queued {pid} served /")
    assert server.stop() == 0
    assert "threads were started at the fork" not in server.log
