"""What one process does for the clients of a server, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefork import Request, Response
from prefork.server import serving as servings
from prefork.server.role import Standalone
from prefork.server.service import Service
from prefork.server.serving import Serving
from support.engine import raw_request
from support.local_server import LocalServer


class Kept(Service):
    """Keeps its responses for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.responses: list[Response] = []

    def request(self, _request: Request, response: Response) -> None:
        self.responses.append(response)


def serving_of(local: LocalServer) -> Serving:
    role = local.server._role
    assert isinstance(role, Standalone)
    return role._serving


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_while_it_is_paused_clients_wait() -> None:
    service = Kept()

    async def client(local: LocalServer) -> None:
        serving = serving_of(local)
        assert serving.pause()
        asked = asyncio.create_task(local.get())
        await asyncio.sleep(0.05)
        assert service.responses == []
        assert serving.resume()
        await until(lambda: service.responses)
        service.responses.pop().done()
        assert (await asked).status == 200

    LocalServer(service).run(client)


def test_one_that_drains_serves_what_it_has_and_accepts_no_more() -> None:
    service = Kept()
    ended: list[bool] = []

    async def client(local: LocalServer) -> None:
        serving = serving_of(local)
        sockets = local.server.listening
        assert sockets is not None
        address = sockets.address, sockets.port
        asked = asyncio.create_task(local.get())
        await until(lambda: service.responses)
        ended_before = serving._ended
        serving._ended = lambda: (ended.append(True), ended_before())
        local.server.shutdown(graceful=True)
        assert not serving.is_open
        assert not serving.pause()
        assert not local.server.start_listen()
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection(*address)
        await asyncio.sleep(0.02)
        assert ended == []
        service.responses.pop().done()
        assert (await asked).status == 200
        await until(lambda: ended)

    LocalServer(service).run(client)
    assert ended == [True]


def test_an_abort_closes_connections_and_cancels_calls(caplog: pytest.LogCaptureFixture) -> None:
    service = Kept()
    cancelled: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(True)

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request())
        await until(lambda: service.responses)
        service.track(asyncio.create_task(work()), service.responses[0])
        await asyncio.sleep(0)
        local.server.shutdown(graceful=False)
        assert await reader.read() == b""
        writer.close()
        await until(lambda: cancelled)

    LocalServer(service).run(client)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "closing 1 connections that did not end",
        "cancelling 1 calls of the application that did not end",
    ]


def test_connections_are_closed_after_graceful_timeout(caplog: pytest.LogCaptureFixture) -> None:
    service = Kept()

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request())
        await until(lambda: service.responses)
        local.server.shutdown(graceful=True)
        assert await reader.read() == b""
        writer.close()

    LocalServer(service, graceful_timeout=0.02).run(client)
    assert "closing 1 connections that did not end" in caplog.text


def test_an_application_that_does_not_shut_down_is_not_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servings, "SHUTDOWN_S", 0.02)

    async def shutdown() -> None:
        await asyncio.sleep(60)

    async def client(_local: LocalServer) -> None:
        """Nothing to ask."""

    service = Kept()
    service.shutdown = shutdown
    LocalServer(service, graceful_timeout=0).run(client)
    assert "the application did not shut down within graceful_timeout" in caplog.text


def test_a_service_that_cannot_start_up_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    async def startup() -> None:
        raise RuntimeError("no database")

    service = Kept()
    service.startup = startup
    local = LocalServer(service)
    with pytest.raises(SystemExit) as ended:
        local.kernel.run()
    assert ended.value.code == 3
    assert "the application failed to start: no database" in caplog.text
