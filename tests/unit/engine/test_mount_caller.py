"""Which requests are for the files in front of a service, and what a call of them sees."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest

from prefork import Request, Response
from prefork._engine import MountCaller, WSGICaller
from support.engine import RunEngine, Service

Calls = list[tuple[str, str | None]]


def mounted(calls: Calls) -> Service:
    """A service with `/`, `/a` and `/a/b/ä` in front of it; `/a/own` is its own."""

    def files(place: str) -> Any:
        def respond(_request: Request, response: Response, name: str | None) -> None:
            calls.append((place, name))
            response.done()

        return respond

    def respond(_request: Request, response: Response) -> None:
        calls.append(("service", None))
        response.done()

    mounts = [("/a/b/ä", files("deep")), ("/a/own", None), ("/a", files("a")), ("", files("all"))]
    caller = MountCaller(mounts, respond)
    service = Service(caller)
    service.request = caller  # type: ignore[method-assign,assignment]
    return service


@pytest.mark.parametrize(
    ("target", "call"),
    [
        ("/a/b/%C3%A4/c%20d?q=/a", ("deep", "c d")),
        ("/a/b/%C3%A4/", ("deep", "")),
        ("/a/b/%C3%A4", ("deep", None)),
        ("/a/b/%C3", ("a", "b/�")),
        ("/a/own", ("service", None)),
        ("/a/own/more", ("service", None)),
        ("/a/owned", ("a", "owned")),
        ("/a", ("a", None)),
        ("/ab", ("all", "ab")),
        ("/", ("all", "")),
        ("http://example.com", ("all", "")),
        ("http://example.com/a/x", ("a", "x")),
    ],
)
def test_the_first_mount_that_fits_counts(
    run_engine: RunEngine, target: str, call: tuple[str, str | None]
) -> None:
    calls: Calls = []
    run_engine(service=mounted(calls)).get(target)
    assert calls == [call]


@pytest.mark.parametrize(
    ("target", "method"), [("*", "OPTIONS"), ("http://there.test/a/x", "GET"), ("there.test:443", "CONNECT")]
)
def test_a_proxy_passes_on_what_names_another_place(run_engine: RunEngine, target: str, method: str) -> None:
    calls: Calls = []
    there = run_engine(service=mounted(calls), proxy_mode=True)
    host = target.removeprefix("http://").partition("/")[0].replace("*", "example.com")
    there.raw(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert calls == [("service", None)]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_call_of_the_files_has_a_context_of_its_own(run_engine: RunEngine, method: str) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    def files(_request: Request, response: Response, name: str | None) -> None:
        seen.append(variable.get())
        variable.set(str(name))
        response.done()

    # The engine gives a context to each request of a handler; an application has one from its caller.
    application = WSGICaller(lambda *_: [], {}, "", print, print)
    service = Service(print)
    service.uses_start_response = True
    service.request = MountCaller([("/files", files)], application)  # type: ignore[method-assign,assignment]
    service.head = MountCaller([("/files", files)], service.head)  # type: ignore[method-assign,assignment]
    there = run_engine(service=service)
    body = ("Content-Length: 0",) if method == "GET" else ("Content-Length: 1",)
    for name in ("one", "two", "three"):
        assert there.get(f"/files/{name}", *body, method=method).status == 200
    assert seen == ["unset"] * 3
    assert variable.get() == "unset"
