"""A target that runs another server while it is loaded is named; one that only uses one is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.server import Serve, run_prefork, write_app

HEAD = """\
import asyncio, threading
from wsgiref.simple_server import make_server

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ours"]

server = make_server("127.0.0.1", 0, app)

async def loop():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    await server.serve_forever()

"""


@pytest.mark.parametrize(
    ("line", "server"), [("server.serve_forever()", "socketserver"), ("asyncio.run(loop())", "asyncio")]
)
def test_a_server_that_is_run_while_loading_is_named(tmp_path: Path, line: str, server: str) -> None:
    path = write_app(tmp_path, HEAD + line)
    done = run_prefork("serve", "--bind", "127.0.0.1:0", str(path))
    number = HEAD.count("\n") + 1
    assert done.stderr.startswith(f"prefork: {path}:{number} runs {server} on 127.0.0.1:")
    assert done.stderr.endswith('is loaded; put that under `if __name__ == "__main__":`\n')
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


IN_PROCESSES = """\
import socket, threading, types

app = lambda environ, start_response: start_response("200 OK", []) and []
bound = socket.socket()
bound.bind(("127.0.0.1", 0))
granian = types.ModuleType("granian")
exec(compile("def serve(wait): wait()", "/lib/site-packages/granian.py", "exec"), granian.__dict__)
granian.serve(threading.Event().wait)
"""


def test_one_that_has_its_processes_listen_is_named(tmp_path: Path) -> None:
    """As the parent process of granian and of uvicorn's workers: its socket is bound, and does not listen."""
    done = run_prefork("serve", "--bind", "127.0.0.1:0", str(write_app(tmp_path, IN_PROCESSES)))
    assert "app.py:8 runs granian on 127.0.0.1:" in done.stderr
    assert done.returncode == 2


def test_a_factory_that_runs_one_is_named_too(tmp_path: Path) -> None:
    path = write_app(tmp_path, f"{HEAD}def create():\n    server.serve_forever()\n")
    done = run_prefork("serve", "--bind", "127.0.0.1:0", f"{path}:create", "--factory")
    assert "runs socketserver on" in done.stderr
    assert done.returncode == 2


IMPORTS_SLOWLY = """\
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ours"]

code = compile("import time; time.sleep(3)", "/lib/site-packages/tornado.py", "exec")
exec(code, {"__name__": "tornado"})
"""


def test_one_that_only_takes_long_to_import_is_none(serve: Serve) -> None:
    """The sockets of this server are open by then."""
    assert serve(IMPORTS_SLOWLY, "--workers", "1").get("/") == b"ours"


def test_one_in_a_thread_harms_nothing(serve: Serve) -> None:
    late = (
        "threading.Thread(target=server.serve_forever, daemon=True).start()\nimport time; time.sleep(2.5)\n"
    )
    assert serve(HEAD + late, "--workers", "1").get("/") == b"ours"
