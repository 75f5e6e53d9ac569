"""A server in a kernel of the test's own process, whose client is a coroutine of the test.

Nothing is forked and no thread is started: the coroutine runs in the loop that serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prefork import HTTPServer, Kernel
from prefork.server.service import Service
from support.engine import WholeResponse, parse_response, raw_request
from support.waiting import DEADLINE_S


class LocalServer:
    """`errors` has the calls of the error hook."""

    def __init__(self, service: Service | None = None, **options: Any) -> None:
        self.kernel = Kernel()
        self.errors: list[tuple[str, str | None]] = []
        self.server = HTTPServer(
            self.kernel,
            address="127.0.0.1",
            port=0,
            error_handler=lambda text, remote_ip: self.errors.append((text, remote_ip)),
            **options,
        )
        if service is not None:
            self.server.service = service

    def run(self, client: Callable[[LocalServer], Awaitable[None]]) -> None:
        """Serves until `client` has ended. Raises what it raises."""
        tasks: list[asyncio.Task[None]] = []

        async def talk() -> None:
            try:
                await asyncio.wait_for(client(self), DEADLINE_S)
            finally:
                self.server.shutdown(graceful=True)

        def begin(_server: object) -> None:
            tasks.append(self.kernel.loop.create_task(talk()))

        self.server.on_serving.append(begin)
        self.kernel.run()
        (task,) = tasks
        task.result()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sockets = self.server.listening
        assert sockets is not None
        return await asyncio.open_connection(sockets.address, sockets.port)

    async def raw(self, data: bytes) -> bytes:
        """What comes back on a connection of its own that the server closes."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            return await reader.read()
        finally:
            writer.close()

    async def get(
        self, target: str = "/", *fields: str, method: str = "GET", body: bytes = b""
    ) -> WholeResponse:
        """A response on a connection of its own; its body is in `.body`."""
        if body:
            fields = (*fields, f"Content-Length: {len(body)}")
        data = raw_request(target, *fields, "Connection: close", method=method) + body
        return parse_response(await self.raw(data), method)
