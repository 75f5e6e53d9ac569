"""A client of HTTP/2 that does what a test says, also what no client should do.

It reads and writes frames (RFC 9113); PyPI's `hpack` compresses the headers. It keeps no rule of the protocol
by itself, except that it may open its windows again as it reads.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import hpack

from support.server import Server
from support.waiting import DEADLINE_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, PRIORITY_UPDATE = 5, 6, 7, 8, 9, 16
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED = 0, 1, 2, 3, 5
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 6, 7, 8, 9, 11
LARGEST = 16_384
"""The largest payload of a frame, as long as no setting allows more."""

Fields = Iterable[tuple[str, str]]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return int.from_bytes(self.payload[at : at + 4], "big")


@dataclass
class Response:
    """What has come of one stream."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    interim: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None


class Http2Client:
    def __init__(self, sock: socket.socket, *, window: int = 65_535, opens_windows: bool = True) -> None:
        self.sock = sock
        self.opens_windows = opens_windows
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.streams: dict[int, Response] = {}
        self.order: list[int] = []  # the streams of DATA frames, as they came
        self.goaway: Frame | None = None
        self.pongs = 0
        self.settings: dict[int, int] = {}  # of the server
        self.has_read = False  # any frame
        self.next_stream = 1
        self.windows: defaultdict[int, int] = defaultdict(lambda: 65_535)  # how much we may send
        self._input = b""
        settings = INITIAL_WINDOW_SIZE.to_bytes(2, "big") + window.to_bytes(4, "big")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # many frames are sent one by one
        try:
            self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        except OSError:
            self.sock.close()
            raise

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    # --- sending -----------------------------------------------------------------------------------------

    def send(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.sock.sendall(frame(kind, flags, stream, payload))

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        fields: Fields = (),
        *,
        body: bytes | None = None,
        ended: bool | None = None,
        pseudo: Fields | None = None,
    ) -> int:
        """Send a request and return its stream. It ends, unless a body follows or `ended` says otherwise."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        if pseudo is None:
            pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")]
        block = self.encoder.encode([*pseudo, *fields])
        ended = body is None if ended is None else ended
        self.streams[stream] = Response()
        self.send_block(stream, block, END_STREAM if ended else 0)
        if body is not None:
            self.sock.sendall(frame(DATA, END_STREAM, stream, body))
        return stream

    def send_block(self, stream: int, block: bytes, flags: int) -> None:
        """A header block in frames of their usual size."""
        pieces = [block[at : at + LARGEST] for at in range(0, len(block), LARGEST)] or [b""]
        for number, piece in enumerate(pieces):
            kind, own = (CONTINUATION, 0) if number else (HEADERS, flags)
            self.send(kind, own | (END_HEADERS if piece is pieces[-1] else 0), stream, piece)

    def upload(self, stream: int, body: bytes) -> None:
        """Send a body as the windows of the server allow it, and end the stream."""
        while body:
            room = min(self.windows[0], self.windows[stream], LARGEST)
            if room == 0:
                self.read_frame()
                continue
            part, body = body[:room], body[room:]
            self.send(DATA, 0, stream, part)
            for name in (0, stream):
                self.windows[name] -= len(part)
        self.send(DATA, END_STREAM, stream)

    def reset(self, stream: int, code: int = CANCEL) -> None:
        self.send(RST_STREAM, 0, stream, code.to_bytes(4, "big"))

    def open_window(self, stream: int, by: int) -> None:
        self.send(WINDOW_UPDATE, 0, stream, by.to_bytes(4, "big"))

    # --- reading -----------------------------------------------------------------------------------------

    def read_frame(self) -> Frame:
        """Read one frame, and note what it says. EOFError at the end of the connection."""
        head = self._take(9)
        stream = int.from_bytes(head[5:], "big")
        got = Frame(head[3], head[4], stream, self._take(int.from_bytes(head[:3], "big")))
        self.has_read = True
        self._note(got)
        return got

    def _take(self, count: int) -> bytes:
        while len(self._input) < count:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError
            self._input += more
        taken, self._input = self._input[:count], self._input[count:]
        return taken

    def _note(self, got: Frame) -> None:
        response = self.streams.setdefault(got.stream, Response()) if got.stream else Response()
        if got.kind == SETTINGS and not got.flags & ACK:
            self.settings.update(struct.iter_unpack("!HI", got.payload))
            self.send(SETTINGS, ACK)
        elif got.kind == PING and got.flags & ACK:
            self.pongs += 1
        elif got.kind == WINDOW_UPDATE:
            self.windows[got.stream] += int.from_bytes(got.payload, "big")
        elif got.kind == GOAWAY:
            self.goaway = got
        elif got.kind == HEADERS:
            assert got.flags & END_HEADERS
            self._note_headers(response, dict(self.decoder.decode(got.payload)))
        elif got.kind == DATA:
            response.body += got.payload
            self.order.append(got.stream)
            if self.opens_windows and got.payload:
                self.open_window(0, len(got.payload))
                if not got.flags & END_STREAM:
                    self.open_window(got.stream, len(got.payload))
        elif got.kind == RST_STREAM:
            response.reset = got.code
        if got.kind in (DATA, HEADERS):
            response.ended |= bool(got.flags & END_STREAM)

    @staticmethod
    def _note_headers(response: Response, fields: dict[Any, Any]) -> None:
        if ":status" not in fields:
            response.trailers = fields
            return
        status = int(fields.pop(":status"))
        if status < 200:
            response.interim.append((status, fields))
        else:
            response.status, response.fields = status, fields

    def response(self, stream: int) -> Response:
        """Read until the stream has ended, or was reset."""
        response = self.streams.setdefault(stream, Response())
        while not response.ended and response.reset is None:
            self.read_frame()
        return response

    def get(self, path: str = "/", fields: Fields = ()) -> Response:
        return self.response(self.ask(path, fields=fields))

    def ping(self) -> None:
        """Wait until the server has read all that was sent."""
        pongs = self.pongs
        self.send(PING, 0, 0, b"12345678")
        while self.pongs == pongs:
            self.read_frame()

    def read_to_end(self) -> None:
        """Read until the server closes the connection."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self.read_frame()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@contextlib.contextmanager
def http2(server: Server, **settings: Any) -> Iterator[Http2Client]:
    """A connection that begins with HTTP/2, over TLS if the server speaks that."""
    with Http2Client(server.connect(DEADLINE_S, "h2"), **settings) as client:
        yield client


def connect_tls(server: Server, certificate: Path, *protocols: str) -> ssl.SSLSocket:
    """A connection over TLS whose client offers these protocols."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    port = int(server.url.rpartition(":")[2])
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    return context.wrap_socket(sock, server_hostname="127.0.0.1")
