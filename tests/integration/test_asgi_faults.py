"""ASGI applications that break the rules: client and log get an error, and the worker goes on."""

from __future__ import annotations

import re
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from support.apps import APPS, ASGI_APP
from support.processes import alive
from support.responses import read_all, read_response, read_until_reset
from support.server import Serve, Server, run_prefork
from support.waiting import wait_until

START = "{'type': 'http.response.start', 'status': 200}"
BODY = "{'type': 'http.response.body', 'body': b'x'}"


def errors(server: Server) -> list[str]:
    return [line for line in server.err if " ERROR " in line]


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def raised(server: Server, expected: str) -> None:
    """The log has that one error, and the server goes on."""
    line = server.wait_log(" ERROR ")
    assert expected in line
    assert server.get("/hello") == b"hello"
    assert errors(server) == [line]


def test_it_raises_before_its_response(asgi: Server) -> None:
    status, _, body = asgi.request("/raises", method="POST", body=b"abc")
    assert (status, body) == (500, b"500 Internal Server Error")
    raised(asgi, "application app failed on POST /raises: ValueError('on purpose')")
    assert "Traceback" in asgi.log
    assert "in raises" in asgi.log


def test_it_raises_in_the_middle_of_its_response(asgi: Server) -> None:
    raw = asgi.raw(get("/raises_begun"))
    assert raw.endswith(b"5\r\nbegin\r\n")  # the last chunk is missing: the client can tell
    raised(asgi, "application app failed on GET /raises_begun: ValueError('in the middle')")


def test_a_task_that_it_left_waiting_learns_that_its_request_is_over(asgi: Server) -> None:
    with asgi.connect() as sock:
        sock.sendall(get("/deserted"))
        assert read_response(sock)[0] == 500
        wait_until(lambda: asgi.get("/records") == b"http.disconnect", "its task to receive it")


def test_the_connection_of_a_request_that_failed_may_move_all_the_same(serve: Serve) -> None:
    server = serve(ASGI_APP, "--workers", "1")
    with server.connect() as sock:
        sock.sendall(get("/deserted"))
        assert read_response(sock)[0] == 500
        old = int(server.get("/pid"))
        server.signal(signal.SIGHUP)
        wait_until(lambda: not alive(old), "the old worker to go")
        sock.sendall(get("/pid"))
        status, fields, body = read_response(sock)
        assert (status, int(body) != old, "connection" in fields) == (200, True, False)


def test_it_raises_after_its_response(asgi: Server) -> None:
    with asgi.connect() as sock:
        for _ in range(2):
            sock.sendall(get("/raises_done"))
            assert read_response(sock)[2] == b"complete"
    asgi.wait_log("application app failed on GET /raises_done: ValueError('afterwards')")


def test_it_does_not_respond(asgi: Server) -> None:
    assert asgi.request("/silent")[0] == 500
    raised(asgi, "application app returned without a response to GET /silent")


def test_it_does_not_end_its_response(asgi: Server) -> None:
    assert asgi.raw(get("/breaks_off")).endswith(b"5\r\nbegin\r\n")
    raised(asgi, "application app returned in the middle of its response to GET /breaks_off")
    with asgi.connect() as sock:
        sock.sendall(b"GET /breaks_off HTTP/1.0\r\n\r\n")
        assert read_until_reset(sock).endswith(b"\r\n\r\nbegin")


def test_it_is_not_cancelled(asgi: Server) -> None:
    assert asgi.request("/cancels")[0] == 500
    raised(asgi, "application app failed on GET /cancels: CancelledError('it was cancelled')")


@pytest.mark.parametrize("path", ["/exits", "/exits_later", "/exits_in_a_task"])
def test_it_exits_and_its_request_alone_ends(asgi: Server, path: str) -> None:
    with asgi.connect() as sock:
        sock.sendall(get("/waits"))
        wait_until(lambda: b"waiting" in asgi.get("/records"), "another request")
        assert asgi.request(path)[0] == 500
        asgi.wait_log(f"application app failed on GET {path}: SystemExit(7)")
    wait_until(lambda: b"http.disconnect" in asgi.get("/records"), "the other request to go on")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (f"[{BODY}]", "sent http.response.body, the server expects http.response.start"),
        (f"[{START}, {START}]", "sent http.response.start, the server expects http.response.body"),
        ("[{'type': 'http.nonsense'}]", "sent http.nonsense, the server expects http.response.start"),
        ("[{'status': 200}]", "it needs"),
        ("[['type']]", "TypeError"),
        ("[{'type': 'http.response.start'}]", "it needs"),
        ("[{'type': 'http.response.start', 'status': '200'}]", "status: expected an int, as 200, got str"),
        ("[{'type': 'http.response.start', 'status': 99999}]", "status: expected an int, as 200, got int"),
        (
            "[{'type': 'http.response.start', 'status': 200, 'headers': [('a', 'b')]}]",
            "header ('a', 'b'): expected two byte strings",
        ),
        (
            "[{'type': 'http.response.start', 'status': 200, 'headers': [(b'a', b'b', b'c')]}]",
            "expected two byte strings",
        ),
        (
            f"[{START}, {{'type': 'http.response.body', 'body': 'text'}}]",
            "body: expected bytes, got str",
        ),
        (f"[{START}, {{'type': 'http.response.body', 'body': 3}}]", "body: expected bytes, got int"),
        ("[{'type': 'http.response.early_hint', 'links': ['x']}]", "links: expected byte strings, got str"),
        ("[{'type': 'http.response.early_hint', 'links': [b'x\\n']}]", "holds a control byte"),
        (
            "[{'type': 'http.response.start', 'status': 200, 'headers': [(b'a b', b'c')]}, " + BODY + "]",
            "header name 'a b'",
        ),
        (
            "[{'type': 'http.response.start', 'status': 200, 'headers': [(b'a', b'c\\r\\nd: e')]}, "
            + BODY
            + "]",
            "holds a control byte",
        ),
        ("[{'type': 'http.response.start', 'status': 102}, " + BODY + "]", "status 102: expected 200 to 999"),
        (f"[{START}, {{'type': 'http.response.trailers'}}]", "the server expects http.response.body"),
    ],
)
def test_it_sends_what_cannot_be_sent(serve: Serve, sent: str, expected: str) -> None:
    server = serve(ASGI_APP, "--start", "0")
    assert server.request("/wrong?" + quote(sent))[0] == 500
    raised(server, expected)


def test_it_goes_on_after_its_response(asgi: Server) -> None:
    status, _, body = asgi.request("/wrong?" + quote(f"[{START}, {BODY}, {BODY}]"))
    assert (status, body) == (200, b"x")
    raised(asgi, "sent http.response.body, the server expects nothing more")


def test_it_sends_a_trailer_that_must_not_be_one(asgi: Server) -> None:
    start = "{'type': 'http.response.start', 'status': 200, 'trailers': True}"
    trailers = "{'type': 'http.response.trailers', 'headers': [(b'content-length', b'1')]}"
    raw = asgi.raw(get("/wrong?" + quote(f"[{start}, {BODY}, {trailers}]")))
    assert raw.endswith(b"1\r\nx\r\n")
    raised(asgi, "trailer content-length: it must be known before the body")


@pytest.mark.parametrize(("length", "body"), [(3, b"xyz"), (8, b"xyzxyz")])
def test_its_length_is_wrong(asgi: Server, length: int, body: bytes) -> None:
    start = f"{{'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'{length}')]}}"
    message = "{'type': 'http.response.body', 'body': b'xyz', 'more_body': True}"
    end = "{'type': 'http.response.body', 'body': b'xyz'}"
    with asgi.connect() as sock:
        sock.sendall(get("/wrong?" + quote(f"[{start}, {message}, {end}]")) + get("/hello"))
        sock.shutdown(socket.SHUT_WR)
        raw = read_all(sock)
    _, _, rest = raw.partition(b"\r\n\r\n")
    assert rest.startswith(body)
    assert (length > 6) == (rest == body)
    asgi.wait_log("its Content-Length")
    assert asgi.get("/hello") == b"hello"


def test_nothing_of_a_response_that_cannot_be_sent_is_sent(asgi: Server) -> None:
    start = "{'type': 'http.response.start', 'status': 200, 'headers': [(b'x', b'\\0')]}"
    status, fields, body = asgi.request("/wrong?" + quote(f"[{start}, {BODY}]"))
    assert (status, body) == (500, b"500 Internal Server Error")
    assert "x" not in fields


def test_a_call_that_returns_no_coroutine(serve: Serve) -> None:
    app = APPS / "asgi_returns_none.py"
    server = serve(app, "--start", "0", "--lifespan", "off", "--interface", "asgi")
    assert server.request("/")[0] == 500
    assert "application app failed on GET /: TypeError" in server.wait_log(" ERROR ")


def test_uvloop_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError(\"No module named 'uvloop'\")")
    env = {"PYTHONPATH": f"{tmp_path}:{Path(sys.modules['prefork'].__file__ or '').parents[1]}"}
    done = run_prefork("serve", str(ASGI_APP), "--loop", "uvloop", "--bind", "127.0.0.1:0", env=env)
    assert done.returncode == 2
    assert re.fullmatch(
        r"prefork: .*loop uvloop: No module named 'uvloop'; install uvloop, or use --loop asyncio\n",
        done.stderr,
    )
