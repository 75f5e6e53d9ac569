"""Clients of HTTP/2 that load a server, and count every request that is lost.

A request that the server has not begun is not lost: it was refused (REFUSED_STREAM), or its number is above
that of GOAWAY. The client sends it again, on another connection if it must (RFC 9113 6.8 and 8.7).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter

from support.http2 import REFUSED_STREAM, Http2Client
from support.server import Server
from support.waiting import DEADLINE_S, wait_until


class Http2LoadClient(threading.Thread):
    """Keeps so many requests in flight on one connection. After a GOAWAY it opens another one."""

    def __init__(self, server: Server, path: str, streams: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.path = path
        self.streams = streams
        self.responses: Counter[tuple[int, bytes]] = Counter()
        self.lost: list[str] = []
        self.again = 0
        """How many requests were not begun."""
        self.goaways = 0
        self.pids: Counter[bytes] = Counter()
        """The bodies of the responses on the connection that is open. Most are of the worker that has it;
        others serve what waits there.
        """
        self._stopped = threading.Event()

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

    def stop(self) -> None:
        self._stopped.set()


class Http2Load:
    """Many clients at once: `with Http2Load(server, 8) as load: ...`"""

    def __init__(self, server: Server, clients: int, path: str = "/pid", streams: int = 8) -> None:
        self.clients = [Http2LoadClient(server, path, streams) for _ in range(clients)]

    def __enter__(self) -> Http2Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.join(DEADLINE_S)

    @property
    def count(self) -> int:
        return sum(sum(list(client.responses.values())) for client in self.clients)

    @property
    def statuses(self) -> set[int]:
        return {status for client in self.clients for status, _ in list(client.responses)}

    @property
    def lost(self) -> list[str]:
        return [loss for client in self.clients for loss in client.lost]

    @property
    def goaways(self) -> int:
        return sum(client.goaways for client in self.clients)

    def more(self, count: int) -> None:
        """Waits until so many more responses have come."""
        enough = self.count + count
        wait_until(lambda: self.count >= enough, f"{count} more responses")
