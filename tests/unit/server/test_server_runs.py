"""A server in a kernel that runs more than once, and in one that outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from prefork.kernel.kernel import Kernel
from prefork.server.server import HTTPServer
from prefork.server.service import Service


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def server(kernel: Kernel) -> HTTPServer:
    return HTTPServer(kernel, address="127.0.0.1", port=0, graceful_timeout=5)


def once_serving(server: HTTPServer, act: Callable[[], Any]) -> None:
    server.on_serving[:] = [lambda _server: server.kernel.loop.call_soon(act)]


def test_it_serves_in_every_run(kernel: Kernel, server: HTTPServer) -> None:
    served: list[str] = []
    server.on_serving.append(lambda server: served.append(server.url))
    server.on_serving.append(lambda _server: kernel.stop())
    kernel.run()
    kernel.run()
    assert len(served) == 2
    assert server.url == "nowhere"


def test_one_that_was_shut_down_is_no_part_of_the_next_run(kernel: Kernel, server: HTTPServer) -> None:
    once_serving(server, lambda: server.shutdown(graceful=True))
    kernel.run()
    assert kernel.sessions == ()
    kernel.run()


def test_a_shutdown_in_a_later_run_knows_no_listener_of_an_earlier_one(
    kernel: Kernel, server: HTTPServer
) -> None:
    def reopen() -> None:
        assert server.stop_listen()
        assert server.start_listen()
        kernel.stop()

    once_serving(server, lambda: (server.on_serving.clear(), reopen()))
    kernel.run()
    once_serving(server, lambda: server.shutdown(graceful=True))
    kernel.run()  # to its end, because nothing is left to do
    assert kernel.sessions == ()


def test_a_shutdown_of_one_that_has_gone_changes_nothing(kernel: Kernel, server: HTTPServer) -> None:
    gone: list[bool] = []

    def again() -> None:
        gone.append(server.kernel is None)
        server.shutdown()
        server.shutdown(graceful=True)
        gone.append(not server.stop_listen())
        kernel.stop()

    once_serving(server, lambda: (kernel.loop.call_later(0.05, again), server.shutdown(graceful=True)))
    kernel.on_start(lambda: kernel.loop.call_later(2.0, kernel.stop))
    kernel.hold(gone)
    kernel.run()
    assert gone == [True, True]


def test_the_first_term_is_graceful_even_in_the_middle_of_a_shutdown(
    kernel: Kernel, server: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "prefork")

    @server.handle("")
    async def slow() -> str:
        server.shutdown(graceful=True)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
        return "done"

    def ask(server: HTTPServer) -> None:
        assert server.listening is not None
        client.connect((server.listening.address, server.listening.port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")

    server.on_serving.append(ask)
    kernel.on_start(lambda: kernel.loop.call_later(2.0, kernel.stop))
    kernel.hold(slow)  # something else that would keep it running
    with socket.socket() as client:
        kernel.run()
        assert client.recv(1 << 16).endswith(b"done")
    assert "SIGTERM: stopping when all requests are finished" in caplog.text
    assert "again" not in caplog.text


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_before_the_startup_is_heard_before_that_blocks(
    kernel: Kernel, server: HTTPServer, signum: signal.Signals
) -> None:
    class Blocking(Service):
        begun = False

        async def startup(self) -> None:
            Blocking.begun = True
            time.sleep(20)

    server.service = Blocking()
    kernel.on_start(lambda: os.kill(os.getpid(), signum))
    kernel.run()
    assert not Blocking.begun
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0, "nothing is left to interrupt"


def test_one_that_hears_no_signals_serves_until_the_others_have_ended(
    kernel: Kernel, server: HTTPServer
) -> None:
    page = HTTPServer(kernel, alias="PAGE", address="127.0.0.1", port=0, signals=False)
    page.handle("^/$")(lambda: "shown")
    began, goes_on = asyncio.Event(), asyncio.Event()

    @server.handle("^/$")
    async def wait() -> str:
        began.set()
        await goes_on.wait()
        return "served"

    async def talk(slow: socket.socket) -> bytes:
        assert server.listening is not None
        assert page.listening is not None
        slow.connect(("127.0.0.1", server.listening.port))
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        while not server.is_stopping:
            await asyncio.sleep(0.001)
        assert server.listening is None
        reader, writer = await asyncio.open_connection("127.0.0.1", page.listening.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        shown = await reader.read()
        writer.close()
        goes_on.set()
        return shown

    tasks: list[asyncio.Task[bytes]] = []
    with socket.socket() as slow:
        once_serving(server, lambda: tasks.append(kernel.loop.create_task(talk(slow))))
        kernel.run()
        assert slow.recv(4096).endswith(b"served")
    assert tasks[0].result().endswith(b"shown")
    assert page.url == "nowhere"


def test_one_that_hears_no_signals_keeps_no_run_going(kernel: Kernel) -> None:
    before = signal.getsignal(signal.SIGTERM)
    during: list[tuple[str, object]] = []
    page = HTTPServer(kernel, alias="PAGE", address="127.0.0.1", port=0, signals=False)
    page.on_serving.append(lambda page: during.append((page.url, signal.getsignal(signal.SIGTERM))))
    kernel.run()
    ((url, handler),) = during
    assert url.startswith("http://127.0.0.1:")
    assert handler == before
    assert page.url == "nowhere"
