"""`with prefork.serve(app) as server:` in a program: what it starts, what the application has there, and its
end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import prefork
from support.server import Server, start_program
from support.waiting import DEADLINE_S, wait_until


def get(server: prefork.BackgroundServer, path: str = "/") -> str:
    return fetch(server.url + path)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
        text: str = response.read().decode()
        return text


def hello(_environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from ", str(os.getpid()).encode()]


async def asgi_hello(scope, _receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello from " + str(os.getpid()).encode()})


def broken(_environ, _start_response):
    raise ValueError("as the test wants it")


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process, thread or descriptor outlives a block."""
    before, threads = children(), set(threading.enumerate())
    descriptors = set(os.listdir("/proc/self/fd"))
    yield
    wait_until(lambda: children() <= before, "the end of each process")
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) <= len(descriptors)


@pytest.mark.parametrize("app", [hello, asgi_hello])
def test_it_serves_when_the_block_begins_and_not_after_its_end(app: Any) -> None:
    with prefork.serve(app) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.host == "127.0.0.1"
        text = get(server)
        assert text.startswith("hello from ")
        worker = int(text.split()[-1])
        assert worker in children() - {server.pid}
        assert psutil.Process(worker).ppid() == server.pid
    assert not psutil.pid_exists(worker)
    with pytest.raises(urllib.error.URLError):
        get(server)


def test_the_application_has_what_this_process_has() -> None:
    seen = ["before"]

    def app(environ, start_response):
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [" ".join(seen).encode()]

    with prefork.serve(app) as server:
        assert get(server, "/a") == "before /a"
        assert get(server, "/b") == "before /a /b"  # one worker has both
    assert seen == ["before"]


def test_an_application_is_named_as_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "site_of_test.py").write_text("app = lambda e, s: (s('200 OK', []), [b'named'])[1]\n")
    with prefork.serve(f"{tmp_path}/site_of_test.py:app") as server:
        assert get(server) == "named"
    assert "site_of_test" not in sys.modules


def test_a_server_of_events_is_served_on_a_free_port() -> None:
    server = prefork.PreForkServer(prefork.Kernel(), port=1, start_servers=1)
    server.handle("^/")(lambda: "an event")
    with prefork.serve(server) as running:
        assert get(running) == "an event"
        assert running.glue


def test_a_server_without_a_pool_is_one_process() -> None:
    server = prefork.HTTPServer(prefork.Kernel())
    server.handle("^/")(lambda: str(os.getpid()))
    with prefork.serve(server) as running:
        assert get(running) == str(running.pid)
        assert running.glue is None


def test_several_serve_at_once() -> None:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(prefork.serve(hello, workers=2)) for _ in range(3)]
        assert len({server.url for server in servers}) == 3
        assert len({get(server) for server in servers}) == 3
        stack.enter_context(contextlib.closing(socket.create_connection((servers[0].host, servers[0].port))))
        servers[0].__exit__(None, None, None)
        get(servers[1])


def test_it_is_started_on_another_thread() -> None:
    texts: list[str] = []

    def run() -> None:
        with prefork.serve(hello) as server:
            texts.append(get(server))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(DEADLINE_S)
    assert len(texts) == 1


def test_it_outlives_the_thread_that_has_started_it() -> None:
    server = prefork.serve(hello)
    thread = threading.Thread(target=server.__enter__)
    thread.start()
    thread.join(DEADLINE_S)
    try:
        get(server)
    finally:
        server.__exit__(None, None, None)


def test_it_serves_beside_a_loop() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        with prefork.serve(asgi_hello) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = await reader.read()
            writer.close()
            await writer.wait_closed()
            return text.decode()

    assert "hello from" in asyncio.run(main())


def test_idle_connections_do_not_delay_the_end() -> None:
    with prefork.serve(hello, graceful_timeout=60) as server:
        client = socket.create_connection((server.host, server.port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
    client.close()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_block_ends_it(kind: type[BaseException]) -> None:
    with pytest.raises(kind), prefork.serve(hello):
        raise kind


# --- errors -------------------------------------------------------------------------------------------------


def test_a_wrong_option_is_an_error_of_the_call() -> None:
    with pytest.raises(prefork.OptionError, match="did you mean 'workers'"):
        prefork.serve(hello, wokers=2)  # type: ignore[call-arg]


def test_a_port_that_is_taken_is_an_error_of_the_caller() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(prefork.BindError, match="Address already in use"),
        prefork.serve(hello, bind=f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        pytest.fail("it serves")


@pytest.mark.parametrize(
    ("target", "why"), [(4711, "is of type int|not callable|int"), ("nowhere:app", "there is no module")]
)
def test_what_is_no_application_is_an_error_of_the_caller(target: Any, why: str) -> None:
    with pytest.raises(prefork.TargetError, match=why), prefork.serve(target):
        pytest.fail("it serves")


def test_an_application_that_cannot_start_is_an_error_with_what_it_wrote() -> None:
    async def app(scope, receive, send):
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with (
        pytest.raises(prefork.NeverReady, match="no database") as caught,
        prefork.serve(app, capture_output=True),
    ):
        pytest.fail("it serves")
    assert any("no database" in note for note in caught.value.__notes__)


def test_an_import_that_fails_is_shown_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(prefork.TargetError, match="could not be loaded") as caught:
        prefork.serve(f"{tmp_path}/broken.py:app").__enter__()
    assert "ZeroDivisionError" in caught.value.__notes__[0]


def test_a_process_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import os\nos._exit(5)\n")
    with pytest.raises(prefork.NeverReady, match="has ended before it was ready"):
        prefork.serve(f"{tmp_path}/leaves.py:app").__enter__()


def test_a_server_starts_no_server() -> None:
    def app(_environ, start_response):
        start_response("200 OK", [])
        try:
            prefork.serve(hello).__enter__()
        except prefork.NotInThisProcess as error:
            return [str(error).encode()]
        return [b"started"]

    with prefork.serve(app) as server:
        assert "one of a server already" in get(server)


# --- what it writes -----------------------------------------------------------------------------------------


def test_its_output_is_captured() -> None:
    def app(environ, start_response):
        print("printed by the application")
        return broken(environ, start_response)

    server = prefork.serve(app, capture_output=True, access_log="-")
    with server:
        with pytest.raises(urllib.error.HTTPError):
            get(server, "/there")
        wait_until(lambda: "/there" in server.output and "as the test wants it" in server.output)
    assert "printed by the application" in server.output
    assert "Traceback" in server.output


def test_its_log_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with prefork.serve(broken) as server, pytest.raises(urllib.error.HTTPError):
        get(server)
    out, err = capfd.readouterr()
    assert out == ""
    assert "ValueError: as the test wants it" in err
    assert "INFO" not in err


# --- its end with the program -------------------------------------------------------------------------------

PROGRAM = """
import atexit, os, signal, sys
import prefork

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]

atexit.register(lambda: print("at exit of", os.getpid(), flush=True))
with prefork.serve(app, workers=2) as server:
    print("serving", server.url, flush=True)
    signal.pause()
print("left the block", flush=True)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Server]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    process = Server(start_program(str(path), start_new_session=True))
    try:
        yield process.wait_serving()
    finally:
        process.kill()


def descendants(program: Server) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(program.pid).children(recursive=True)
    assert len(found) == 3
    return found


def test_it_ends_with_a_program_that_is_killed(program: Server) -> None:
    processes = descendants(program)
    program.kill()
    wait_until(
        lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)
    )


def test_ctrl_c_ends_the_block_and_then_the_server(program: Server) -> None:
    processes = descendants(program)
    os.killpg(program.pid, signal.SIGINT)
    program.wait()
    assert "KeyboardInterrupt" in program.log
    assert not any(one.is_running() for one in processes)
    # Of the processes only the program itself runs what is its own.
    assert [line for line in program.out if line.startswith("at exit")] == [f"at exit of {program.pid}"]
