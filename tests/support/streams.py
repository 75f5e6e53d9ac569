"""A worker and the requests of HTTP/2 that a client sends it, one stream each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from support.http2 import GOAWAY, PROTOCOL_ERROR, Fields, Frame, Http2Client, Response, http2
from support.server import Server
from support.wire import Wire

BASE = {":method": "GET", ":scheme": "http", ":authority": "a", ":path": "/x"}


class Streams:
    """Talks to one worker over connections of HTTP/2, and checks that it is the same worker still.

    After what ends one stream alone, the connection goes on: each check sends a good request behind it.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._wire = Wire(server)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Http2Client]:
        with http2(self.server) as client:
            yield client

    def seen(self) -> object:
        """What was dispatched since the last look."""
        return self._wire.seen()

    def ask(self, fields: Fields = (), *, body: bytes | None = None, **pseudo: str | None) -> Response:
        """The response to one request. `pseudo`: pseudo-header fields without their colon; None: not sent."""
        with self.connection() as client:
            return client.response(client.ask(fields=fields, body=body, pseudo=_pseudo(pseudo)))

    def refuse(
        self,
        fields: Fields = (),
        status: int | None = None,
        *,
        body: bytes | None = None,
        also: Mapping[str, str | None] | None = None,
        **pseudo: str | None,
    ) -> None:
        """Send what must be refused: with a status, or else a stream error. No handler sees it.

        `also` are further pseudo-header fields.
        """
        pseudo |= also or {}
        with self.connection() as client:
            stream = client.ask(fields=fields, body=body, pseudo=_pseudo(pseudo))
            response = client.response(stream)
            if status is None:
                assert (response.status, response.reset) == (0, PROTOCOL_ERROR), response
            else:
                assert response.status == status, response
            assert self.seen() == []
            assert client.response(client.ask(pseudo=_pseudo({}))).status == 200
        assert self.seen() == ["GET /x"]

    def accept(
        self, seen: str, fields: Fields = (), *, body: bytes | None = None, **pseudo: str | None
    ) -> Response:
        """Send what must be served."""
        response = self.ask(fields, body=body, **pseudo)
        assert response.status == 200, response
        assert self.seen() == [seen]
        return response

    def end(self, client: Http2Client) -> Frame | None:
        """Read to the end of a connection that is in error. Return its GOAWAY, if it arrived."""
        client.read_to_end()
        assert client.goaway is None or client.goaway.kind == GOAWAY
        return client.goaway


def _pseudo(changed: dict[str, str | None]) -> list[tuple[str, str]]:
    all_of_them = BASE | {f":{name}": value for name, value in changed.items()}
    return [(name, value) for name, value in all_of_them.items() if value is not None]
