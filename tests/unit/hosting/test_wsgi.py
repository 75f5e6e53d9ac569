"""Bodies of WSGI applications: how they are sent, when they are closed, and what a failure costs."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import io
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefork.config.checked import check
from prefork.config.options import AppOptions, PreForkOptions, ServerOptions
from prefork.hosting.wsgi import FileWrapper, WSGIService
from prefork.kernel.kernel import Kernel, Session
from prefork.server.context import Context
from prefork.server.hooks import Hooks
from prefork.server.sockets import Place
from support.engine import raw_request
from support.local_server import LocalServer

HEADERS = [("Content-Type", "text/plain")]


def local_server(app: Any, **options: Any) -> LocalServer:
    return LocalServer(WSGIService(app, check(AppOptions, options)))


class Body:
    """An iterable that tells when it is closed, and whether a loop was seen."""

    def __init__(self, parts: Iterator[bytes] | list[bytes], events: list[str]) -> None:
        self.parts = iter(parts)
        self.events = events

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.parts)

    def close(self) -> None:
        self.events.append("closed")


def app_with(body: Any, headers: Any = HEADERS) -> Any:
    def app(_environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", headers)
        return body() if callable(body) else body

    return app


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ([b"hello"], b"hello"),
        ([], b""),
        ((b"one ", b"two"), b"one two"),
        (lambda: iter([b"one ", b"", b"two"]), b"one two"),
        (lambda: FileWrapper(io.BytesIO(b"a file"), 3), b"a file"),
    ],
)
def test_a_body_is_sent_whole(body: Any, sent: bytes, threads: int) -> None:
    async def client(local: LocalServer) -> None:
        response = await local.get()
        assert (response.status, response.body) == (200, sent)

    local = local_server(app_with(body), threads=threads)
    local.run(client)
    assert local.errors == []


def test_a_body_is_closed_once_when_it_is_sent() -> None:
    events: list[str] = []

    async def client(local: LocalServer) -> None:
        assert (await local.get()).body == b"one two"
        assert events == ["closed"]

    local_server(app_with(lambda: Body([b"one ", b"two"], events))).run(client)
    assert events == ["closed"]


def test_a_body_is_closed_when_the_client_leaves() -> None:
    events: list[str] = []

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    async def client(local: LocalServer) -> None:
        reader, writer = await local.connect()
        writer.write(raw_request())
        await reader.read(1)
        writer.transport.abort()
        while not events:
            await asyncio.sleep(0.001)

    local = local_server(app_with(lambda: Body(endless(), events)))
    local.run(client)
    assert events == ["closed"]
    assert all("application" not in text for text, _ in local.errors)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("HEAD", "200 OK"),
        ("GET", "204 No Content"),
        ("GET", "205 Reset Content"),
        ("GET", "304 Not Modified"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_response_without_a_body_is_complete_with_its_head(
    method: str, status: str, late: bool, threads: int
) -> None:
    events: list[str] = []

    def app(_environ: dict[str, Any], start_response: Any) -> Any:
        def parts() -> Iterator[bytes]:
            if late:
                start_response(status, HEADERS)
            events.append("first")
            yield b""
            events.append("second")
            yield b"two"

        if not late:
            start_response(status, HEADERS)
        return Body(parts(), events)

    async def client(local: LocalServer) -> None:
        response = await local.get(method=method)
        assert (response.status, response.body) == (int(status[:3]), b"")
        assert response.headers["Content-Length"] in (None, "0")
        while "closed" not in events:
            await asyncio.sleep(0.001)

    local = local_server(app, threads=threads)
    local.run(client)
    assert events == (["first"] if late else []) + ["closed"]
    assert local.errors == []


def fails_late() -> Iterator[bytes]:
    yield b"one"
    raise RuntimeError("on purpose")


def fails_early(_environ: Any, _start_response: Any) -> Any:
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("app", "status", "text"),
    [
        (fails_early, 500, "application fails_early failed on GET /a: RuntimeError('on purpose')"),
        (app_with("text"), 500, "it returned 'text': expected an iterable of bytes"),
        (app_with(7), 500, "it returned 7: expected an iterable of bytes"),
        (lambda _environ, _start: iter([]), 500, "it responded without calling start_response"),
    ],
)
def test_an_application_that_fails_is_a_500_with_one_line(
    app: Any, status: int, text: str, threads: int
) -> None:
    async def client(local: LocalServer) -> None:
        assert (await local.get("/a")).status == status

    local = local_server(app, threads=threads)
    local.run(client)
    ((reported, remote_ip),) = local.errors
    assert text in reported
    assert remote_ip == "127.0.0.1"


def test_a_failure_in_the_middle_of_a_body_closes_the_connection() -> None:
    events: list[str] = []

    async def client(local: LocalServer) -> None:
        assert (await local.raw(raw_request())).endswith(b"one\r\n")

    local = local_server(app_with(lambda: Body(fails_late(), events)))
    local.run(client)
    assert events == ["closed"]
    ((text, _),) = local.errors
    assert text == "application app failed on GET /: RuntimeError('on purpose')"


@pytest.mark.parametrize(("threads", "main"), [(1, True), (2, False)])
def test_the_call_sees_no_running_loop(threads: int, main: bool) -> None:
    import threading

    seen: list[tuple[bool, bool]] = []

    def look() -> Iterator[bytes]:
        here = threading.current_thread() is threading.main_thread()
        seen.append((here, asyncio._get_running_loop() is None))
        yield b"one"
        seen.append((here, asyncio._get_running_loop() is None))

    async def client(local: LocalServer) -> None:
        assert (await local.get()).status == 200

    local_server(app_with(look), threads=threads).run(client)
    assert seen == [(main, True), (main, True)]


def test_a_body_is_over_before_the_next_request_begins() -> None:
    events: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return parts(environ["PATH_INFO"])

    def parts(path: str) -> Iterator[bytes]:
        for _ in range(40):
            events.append(path)
            yield b"x" * 65536

    async def client(local: LocalServer) -> None:
        one, two = await asyncio.gather(local.get("/one"), local.get("/two"))
        assert len(one.body) == len(two.body) == 40 * 65536

    local_server(app).run(client)
    assert sorted(events) in (events, events[::-1])
    assert len(events) == 80


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["list", "tuple", "generator", "fails", "raises"])
def test_a_call_its_body_and_its_close_have_one_context_of_their_own(kind: str, threads: int) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    class Parts(Body):
        token: contextvars.Token[str]

        def __next__(self) -> bytes:
            seen.append(who.get())
            return super().__next__()

        def close(self) -> None:
            super().close()
            seen.append(who.get())
            who.reset(self.token)  # as a tracer does: this raises in another context

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(who.get())
        token = who.set(environ["PATH_INFO"])
        start_response("200 OK", HEADERS)
        if kind == "raises":
            raise RuntimeError("on purpose")
        if kind in ("list", "tuple"):
            return [b"x"] if kind == "list" else (b"x",)
        body = Parts([b"x" * 65536] * 40 if kind == "generator" else fails_late(), events)
        body.token = token
        return body

    events: list[str] = []

    async def client(local: LocalServer) -> None:
        for path in ("/1", "/2", "/3"):
            await local.raw(raw_request(path, "Connection: close"))

    local = local_server(app, threads=threads)
    local.run(client)
    assert seen.count("nobody") == 3, "each call begins without what others have set"
    assert set(seen) <= {"nobody", "/1", "/2", "/3"}
    if kind == "generator":
        assert len(seen) == 3 * 43
        assert events == ["closed"] * 3
    assert not any("Token" in text for text, _ in local.errors)


def test_a_call_sees_what_was_set_when_the_process_started() -> None:
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")
    seen: list[str] = []

    def app(_environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(where.get())
        where.set("in the call")
        start_response("200 OK", HEADERS)
        return [b""]

    async def client(local: LocalServer) -> None:
        for _ in range(3):
            await local.get()

    def run() -> None:
        where.set("at the start")
        local_server(app).run(client)

    contextvars.copy_context().run(run)
    assert seen == ["at the start"] * 3


def test_a_regular_file_is_sent_up_to_its_content_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [*HEADERS, ("Content-Length", "4")])
        file = path.open("rb")
        file.seek(3)
        return environ["wsgi.file_wrapper"](file)

    async def client(local: LocalServer) -> None:
        assert (await local.get()).body == b"3456"

    local_server(app).run(client)


@pytest.mark.parametrize("target", [(-1, 0), (-1, 1), (-22, 2)])
def test_a_position_before_the_beginning_of_a_body_is_the_error_of_a_file(target: tuple[int, int]) -> None:
    """zipfile looks for its directory from the end, and finds by this error that there is none."""
    seen: list[object] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"]
        with pytest.raises(OSError, match="before the beginning") as caught:
            body.seek(*target)
        seen.extend((caught.value.errno, zipfile.is_zipfile(body), body.seek(0)))
        seen.append(body.read())
        start_response("200 OK", HEADERS)
        return [b""]

    async def client(local: LocalServer) -> None:
        assert (await local.get(method="POST", body=b"short")).status == 200

    local_server(app).run(client)
    assert seen == [errno.EINVAL, False, 0, b"short"]


def test_only_a_regular_file_is_sent_by_the_system() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(4)
        part = FileWrapper(file).part(None)
        assert part is not None
        assert len(part) == 6
        part = FileWrapper(file).part("2")
        assert part is not None
        assert len(part) == 2
    assert FileWrapper(file).part(None) is None  # it is closed
    assert FileWrapper(io.BytesIO(b"bytes")).part(None) is None
    assert not hasattr(FileWrapper(object()), "close")


@pytest.mark.parametrize(
    ("address", "port", "hostname", "name"),
    [
        ("10.0.0.1", 80, None, "10.0.0.1"),
        ("10.0.0.1", 80, "shop.example", "shop.example"),
        ("::", 80, None, socket.gethostname()),
        ("/run/site", None, None, socket.gethostname()),
    ],
)
def test_server_name_is_the_hostname_or_the_address_that_clients_use(
    address: str, port: int | None, hostname: str | None, name: str
) -> None:
    base = base_of(check(ServerOptions, {"hostname": hostname}), address, port)
    assert base["SERVER_NAME"] == name
    assert base["SERVER_PORT"] == "80"


def test_what_an_option_says_is_a_native_string_in_the_environ() -> None:
    options = check(ServerOptions, {"hostname": "caf\xe9.example"})
    base = base_of(options, "10.0.0.1", 80, root_path="/\u65e5")
    assert base["SCRIPT_NAME"].encode("latin-1").decode() == "/\u65e5"
    assert base["SERVER_NAME"].encode("latin-1").decode() == "caf\xe9.example"


@pytest.mark.parametrize(
    ("options", "threads", "multiprocess", "multithread"),
    [
        (check(ServerOptions, {}), 1, False, False),
        (check(PreForkOptions, {}), 1, True, False),
        (check(PreForkOptions, {"start_servers": 0}), 4, False, True),
    ],
)
def test_the_environ_says_what_runs_beside_a_call(
    options: ServerOptions, threads: int, multiprocess: bool, multithread: bool
) -> None:
    base = base_of(options, "10.0.0.1", 80, threads=threads)
    assert (base["wsgi.multiprocess"], base["wsgi.multithread"]) == (multiprocess, multithread)


def base_of(options: ServerOptions, address: str, port: int | None, **app_options: Any) -> dict[str, Any]:
    service = WSGIService(fails_early, check(AppOptions, app_options))
    kernel, session = Kernel(), Session()
    hooks = Hooks(kernel, session, options, [], [])
    service.attach(Context(kernel, session, options, hooks, [Place(address, port)], lambda: None))
    return service.base()
