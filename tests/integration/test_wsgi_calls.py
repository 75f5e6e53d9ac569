"""What a WSGI application is called with, and the response from what it returns (PEP 3333)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.apps import APPS
from support.responses import read_all, read_response
from support.server import Serve, Server, running

APP = APPS / "wsgi_calls.py"


@pytest.fixture(scope="module", params=[1, 3], ids=["one thread", "threads"])
def shared(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all of these tests: whatever a test does, it serves the next one."""
    options = ("--bind", "127.0.0.1:0", "--workers", "1", "--threads", str(request.param))
    with running(str(APP), *options) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def server(shared: Server) -> Server:
    shared.forget_output()
    shared.get("/seen")  # what earlier tests closed
    return shared


def environ_of(server: Server, path: str, *fields: str, body: bytes = b"") -> dict[str, Any]:
    head = [f"POST {path} HTTP/1.1" if body else f"GET {path} HTTP/1.1", "Host: there:80", *fields]
    length = [f"Content-Length: {len(body)}"] if body else []
    raw = "\r\n".join([*head, *length, "Connection: close", "", ""]).encode("latin-1") + body
    shown: dict[str, Any] = json.loads(server.raw(raw).partition(b"\r\n\r\n")[2])
    return shown


# --- environ ------------------------------------------------------------------------------------------------


def test_the_environ_says_what_was_asked(server: Server) -> None:
    fields = ("X-Twice: 1", "x-twice: 2", "Cookie: a=1", "Cookie: b=2", "Content-Type: text/x")
    found = environ_of(server, "/environ/%C3%A4%2Fb?q=%20", *fields, body=b"12345")
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/environ/\xc3\xa4/b",
        "QUERY_STRING": "q=%20",
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "5",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "there:80",
        "HTTP_X_TWICE": "1, 2",
        "HTTP_COOKIE": "a=1; b=2",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.run_once": False,
        "wsgi.multiprocess": True,
        "wsgi.input_terminated": True,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert "HTTP_CONTENT_TYPE" not in found
    assert "HTTP_CONTENT_LENGTH" not in found


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Content-Type", "CONTENT_TYPE"),
        ("Authorization", "HTTP_AUTHORIZATION"),
        ("User-Agent", "HTTP_USER_AGENT"),
        ("Referer", "HTTP_REFERER"),
        ("If-Modified-Since", "HTTP_IF_MODIFIED_SINCE"),
        ("Content-Range", "HTTP_CONTENT_RANGE"),
    ],
)
def test_a_field_that_may_stand_once_has_one_value(server: Server, name: str, key: str) -> None:
    lines = [f"{name}: first", "X-A: 1", f"{name.lower()}: first"]
    assert environ_of(server, "/environ", *lines)[key] == "first"
    if name not in ("Content-Type", "Authorization"):  # the engine refuses two values of these
        assert environ_of(server, "/environ", *lines, f"{name}: last")[key] == "first"


def test_a_field_that_is_a_list_may_have_many_lines(serve: Serve) -> None:
    server = serve(APP, "--workers", "1", "--max-fields", "10000", "--max-head", "1m")
    lines = [f"X-Part: {number}" for number in range(9000)] + ["Accept: a", "x-part: end", "ACCEPT: a"]
    found = environ_of(server, "/environ", *lines)
    assert found["HTTP_X_PART"] == ", ".join([*map(str, range(9000)), "end"])
    assert found["HTTP_ACCEPT"] == "a, a"


def test_options_of_the_server_have_no_path(server: Server) -> None:
    raw = server.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    found = json.loads(raw.partition(b"\r\n\r\n")[2])
    assert (found["SCRIPT_NAME"], found["PATH_INFO"], found["RAW_URI"]) == ("", "", "*")


def test_the_environ_of_a_plain_get_says_so_whatever_was_asked_before(server: Server) -> None:
    rest = "HTTP/1.1\r\nHost: x\r\n"
    with server.connect() as sock:
        sock.sendall(f"POST /environ/a?b=c {rest}Content-Length: 1\r\nX-A: 1\r\n\r\n1".encode())
        before = json.loads(read_response(sock)[2])
        sock.sendall(f"GET /environ {rest}\r\n".encode())
        found = json.loads(read_response(sock)[2])
    asked = ("REQUEST_METHOD", "PATH_INFO", "RAW_URI", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_X_A")
    assert [before.get(key) for key in asked] == ["POST", "/environ/a", "/environ/a?b=c", "b=c", "1", "1"]
    assert [found.get(key) for key in asked] == ["GET", "/environ", "/environ", "", None, None]


def test_the_environ_tells_whether_there_are_threads_and_processes(serve: Serve) -> None:
    assert environ_of(serve(APP, "--threads", "2"), "/environ")["wsgi.multithread"] is True
    alone = environ_of(serve(APP, "--start", "0"), "/environ")
    assert (alone["wsgi.multithread"], alone["wsgi.multiprocess"]) == (False, False)


def test_a_unix_socket_has_a_name_and_a_port_all_the_same(serve: Serve, tmp_path: Path) -> None:
    found = environ_of(serve(APP, "--bind", f"unix:{tmp_path}/s"), "/environ")
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == (socket.gethostname(), "80")
    assert found["REMOTE_ADDR"] == ""


def test_the_environ_names_the_host_that_the_operator_named(serve: Serve) -> None:
    server = serve(APP, "--hostname", "shop.example", "--root-path", "/environ")
    found = environ_of(server, "/environ/environ/x")
    assert found["SERVER_NAME"] == "shop.example"
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/environ", "/environ/x")


def test_a_root_path_that_is_not_ascii_is_a_native_string(serve: Serve) -> None:
    found = environ_of(serve(APP, "--root-path", "/\u65e5"), "/%E6%97%A5/environ/%C3%A4")
    root, path = found["SCRIPT_NAME"], found["PATH_INFO"]
    assert (root.encode("latin-1").decode(), path.encode("latin-1").decode()) == ("/\u65e5", "/environ/\xe4")


# --- wsgi.input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spool_above", ["1m", "0"], ids=["memory", "disk"])
def test_the_input_is_read_as_a_file_and_ends_with_the_body(serve: Serve, spool_above: str) -> None:
    body = b"abcdef\nsecond\nthird\nlong " + b"x" * 20_000 + b"\nlast"
    status, _, found = serve(APP, "--spool-above", spool_above).request("/reads", "POST", body)
    lines = [b"third\n", b"long " + b"x" * 20_000 + b"\n", b"last"]
    assert status == 200
    assert eval(found) == [b"", b"abc", b"def\n", b"se", [b"cond\n"], lines, b"", b"", b"", []]


@pytest.mark.parametrize("spool_above", ["1m", "0"], ids=["memory", "disk"])
def test_the_input_is_what_libraries_expect_of_a_binary_file(serve: Serve, spool_above: str) -> None:
    server = serve(APP, "--spool-above", spool_above)
    status, _, found = server.request("/used", "POST", "a,b\n\xe4,2\n".encode())
    assert status == 200
    rows = [["a", "b"], ["\xe4", "2"]]
    assert eval(found) == [
        *(0, rows, False, 7, b"2\n", 1, 2, 2, [3, b"b\n\xc3"], 9, [0, b"", b""]),
        *([True, True, False, False, None], True, 0, True, True),
        *("ValueError: I/O operation on closed file.", "UnsupportedOperation: fileno"),
        "ValueError: I/O operation on closed file.",
    ]


def test_an_input_that_one_request_has_closed_is_open_for_the_next(server: Server) -> None:
    for body in (b"abc", None, None, b"def"):
        status, _, found = server.request("/wrapped_input", "POST" if body else "GET", body)
        assert (status, found) == (200, body or b"")


def test_without_a_body_the_input_is_empty(server: Server) -> None:
    assert eval(server.get("/reads")) == [b"", b"", b"", b"", [], [], b"", b"", b"", []]


def test_a_chunked_body_is_whole_and_has_a_length(server: Server) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert server.raw(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").endswith(b"\r\n\r\nabcde")
    chunked = head.replace(b"/echo", b"/environ") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    found = json.loads(server.raw(chunked).partition(b"\r\n\r\n")[2])
    assert found["CONTENT_LENGTH"] == "5"
    assert "HTTP_TRANSFER_ENCODING" not in found


def test_a_client_that_waits_for_100_continue_gets_it(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"ok")
        assert read_response(sock)[2] == b"ok"


# --- bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"), [("/several", b"one two"), ("/pair", b"ab"), ("/empty", b""), ("/echo", b"")]
)
def test_a_body_that_is_whole_has_its_length(server: Server, path: str, body: bytes) -> None:
    status, fields, found = server.request(path)
    assert (status, found, fields["content-length"]) == (200, body, str(len(body)))


def test_a_generator_is_streamed_and_may_start_late(server: Server) -> None:
    status, fields, found = server.request("/generator")
    assert (status, found) == (201, b"first second")
    assert fields["transfer-encoding"] == "chunked"


def test_write_comes_before_what_is_returned(server: Server) -> None:
    assert server.get("/written") == b"written, returned"


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("400 Unknown field foo", b"400 Unknown field foo"),
        ("200 All is well", b"200 All is well"),
        ("299 Odd", b"299 Odd"),
        ("422 Unprocessable Entity", b"422 Unprocessable Entity"),
        ("404 Pas trouv%E9", b"404 Pas trouv\xe9"),
        ("404 %D0%9D%D0%B5%D1%82", b"404 \xd0\x9d\xd0\xb5\xd1\x82"),
        ("200 OK", b"200 OK"),
        ("404", b"404 Not Found"),
        ("404 ", b"404 Not Found"),
        ("700 x", b"700 x"),
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_the_reason_phrase_is_that_of_the_application(
    server: Server, status: str, line: bytes, version: bytes
) -> None:
    target = b"/status?" + status.replace(" ", "+").encode()
    raw = server.raw(b"GET %s HTTP/%s\r\nHost: x\r\nConnection: close\r\n\r\n" % (target, version))
    assert raw.partition(b"\r\n")[0] == b"HTTP/1.1 " + line
    assert raw.endswith(b"said")


def test_an_error_after_the_status_has_the_phrase_of_its_own_code(server: Server) -> None:
    assert server.raw(b"GET /broken HTTP/1.0\r\nHost: x\r\n\r\n").startswith(
        b"HTTP/1.1 500 Internal Server Error\r\n"
    )


def test_exc_info_replaces_what_was_not_sent(server: Server) -> None:
    status, fields, body = server.request("/replaced")
    assert (status, body) == (503, b"sorry")
    assert "x-one" not in fields


def test_an_iterable_is_closed_once_in_the_thread_that_called_it(server: Server) -> None:
    assert server.get("/iterable") == b"xy"
    assert server.request("/iterable", "HEAD")[2] == b""
    assert json.loads(server.get("/seen"))["closed"] == [["iterable", True]] * 2


@pytest.mark.parametrize("path", ["/several", "/generator", "/iterable", "/wrapped"])
def test_head_is_served_without_a_body_and_the_connection_stays_open(server: Server, path: str) -> None:
    with server.connect() as sock:
        sock.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        sock.sendall(b"GET /several HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, rest = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201"))
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b"one two")


def test_a_file_is_sent_from_where_it_stands(server: Server) -> None:
    source = Path(server.process.args[4]).read_bytes()  # type: ignore[index, arg-type]
    status, fields, body = server.request("/wrapped")
    assert (status, body) == (200, source[7:])
    assert fields["content-length"] == str(len(source) - 7)
    assert server.get("/wrapped_part") == source[:5]
    assert "Content-Length" not in server.log


def test_what_is_no_file_of_the_system_is_read_and_closed(server: Server) -> None:
    assert server.get("/wrapped_memory") == b"0123456789"
    assert json.loads(server.get("/seen"))["closed"] == [["memory", True]]


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("HEAD", None), ("POST", b"12345")])
def test_it_is_what_the_validator_of_the_library_expects(
    server: Server, method: str, body: bytes | None
) -> None:
    status, _, found = server.request("/validated", method, body)
    assert status == 200
    assert found == {"GET": b"got nothing", "HEAD": b"", "POST": b"got 12345"}[method]
    assert "Error" not in server.log
    assert json.loads(server.get("/seen"))["closed"] == [["valid", True]]
