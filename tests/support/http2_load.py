"""Clients of HTTP/2 that load a server, and count every request that is lost.

A request that the server has not begun is not lost: it was refused (REFUSED_STREAM), or its number is above
that of GOAWAY. The client sends it again, on another connection if it must (RFC 9113 6.8 and 8.7).
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter

from support.http2 import REFUSED_STREAM, Http2Client
from support.load import Clients, LoadClient
from support.server import Server
from support.waiting import DEADLINE_S


class Http2LoadClient(LoadClient):
    """Keeps so many requests in flight on one connection. After a GOAWAY it opens another one."""

    def __init__(self, server: Server, path: str, streams: int) -> None:
        super().__init__(server, path)
        self.streams = streams
        self.again = 0
        """How many requests were not begun."""
        self.goaways = 0
        self.pids: Counter[bytes] = Counter()
        """The bodies of the responses on the connection that is open. Most are of the worker that has it;
        others serve what waits there.
        """

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                client = Http2Client(self.server.connect(DEADLINE_S, "h2"))
            except OSError:  # there is no server, or it ends before it has accepted
                time.sleep(0.001)
                continue
            with client:
                self._use(client)

    def _use(self, client: Http2Client) -> None:
        in_flight: set[int] = set()
        self.pids = Counter()
        while True:
            try:
                if not self._stopped.is_set() and client.goaway is None:
                    while len(in_flight) < self.streams:
                        in_flight.add(client.next_stream)
                        client.ask(self.path)
                if not in_flight:
                    break
                client.read_frame()
            except (OSError, EOFError) as error:
                # A request that crosses the GOAWAY may fail to be sent: what was received tells more.
                with contextlib.suppress(OSError):
                    client.read_to_end()
                self._take(client, in_flight)
                self._lose(client, in_flight, error)
                break
            self._take(client, in_flight)
        self.goaways += client.goaway is not None

    def _take(self, client: Http2Client, in_flight: set[int]) -> None:
        """Counts what has ended."""
        for stream in list(in_flight):
            response = client.streams.get(stream)
            if response is None or not (response.ended or response.reset is not None):
                continue
            in_flight.remove(stream)
            del client.streams[stream]
            if response.reset == REFUSED_STREAM:
                self.again += 1
            elif response.reset is not None:
                self.lost.append(f"stream {stream}: reset by {response.reset}")
            else:
                self.responses[response.status, response.body] += 1
                self.pids[response.body] += 1

    def _lose(self, client: Http2Client, in_flight: set[int], error: Exception) -> None:
        last = int.from_bytes(client.goaway.payload[:4], "big") if client.goaway else 1 << 31
        for stream in in_flight:
            # A server that ends resets the connections that it has not accepted.
            if stream > last or not client.has_read:
                self.again += 1
            else:
                self.lost.append(f"stream {stream}: {error!r}")


class Http2Load(Clients[Http2LoadClient]):
    """`with Http2Load(server, 8) as load: ...`"""

    def __init__(self, server: Server, clients: int, path: str = "/pid", streams: int = 8) -> None:
        super().__init__([Http2LoadClient(server, path, streams) for _ in range(clients)])

    @property
    def goaways(self) -> int:
        return sum(client.goaways for client in self.clients)
