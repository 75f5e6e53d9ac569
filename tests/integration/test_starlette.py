"""The cases of Starlette's own test suite, sent over a socket instead of by its test client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from support.apps import APPS
from support.server import Server, running
from support.waiting import wait_until


@pytest.fixture(scope="module")
def site() -> Iterator[Server]:
    options = ("--bind", "127.0.0.1:0", "--workers", "1")
    with running(str(APPS / "starlette_cases.py"), *options) as server:
        yield server
        assert server.stop() == 0


def websocket(site: Server, path: str, **options: Any) -> ClientConnection:
    client: ClientConnection = connect(site.url.replace("http", "ws", 1) + path, proxy=None, **options)
    return client


# --- requests --------------------------------------------------------------------------------------------


def test_url_and_query(client: httpx.Client, site: Server) -> None:
    about = client.get("/url?a=123&b=456").json()
    assert about == {
        "method": "GET",
        "url": f"{site.url}/url?a=123&b=456",
        "params": {"a": "123", "b": "456"},
        "base": f"{site.url}/",
    }
    assert client.post("/url/a%20b/%E2%99%A5").json()["url"] == f"{site.url}/url/a b/♥"


def test_headers_come_in_order_and_lower_case(client: httpx.Client, site: Server) -> None:
    fields = client.get("/headers", headers=[("X-B", "1"), ("X-A", "2"), ("X-B", "3")]).json()
    assert [pair for pair in fields if pair[0].startswith("x-")] == [["x-b", "1"], ["x-a", "2"], ["x-b", "3"]]
    assert ["host", f"127.0.0.1:{site.port}"] in fields


def test_client(client: httpx.Client) -> None:
    about = client.get("/client").json()
    assert about["host"] == "127.0.0.1"
    assert about["port"] > 0


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies(client: httpx.Client, chunked: bool) -> None:
    content = iter([b"a", b"bc", "é".encode()]) if chunked else "abcé".encode()
    assert client.post("/body", content=content).json() == {"body": "abcé"}
    assert client.get("/body").json() == {"body": ""}
    assert client.post("/body-twice", content=b"abc").json() == {"body": "abc", "stream": "abc"}
    assert client.post("/stream-then-body", content=b"abc").json() == {"stream": "abc", "body": "consumed"}


def test_forms(client: httpx.Client) -> None:
    assert client.post("/form", data={"a": "ä"}).json() == {"a": "ä"}
    files = {"file": ("name.txt", b"content")}
    response = client.post("/form", data={"a": "1"}, files=files)
    assert response.json() == {"a": "1", "file": ["name.txt", "content"]}


def test_cookies(client: httpx.Client) -> None:
    response = client.get("/cookies", headers={"cookie": "chocolate=yes; milk=no"})
    assert response.json() == {"chocolate": "yes", "milk": "no"}
    assert len(response.headers.get_list("set-cookie")) == 2


# --- responses -------------------------------------------------------------------------------------------


def test_plain_responses(client: httpx.Client) -> None:
    response = client.get("/text")
    assert (response.text, response.headers["content-type"]) == ("hello, world", "text/plain; charset=utf-8")
    assert response.headers["content-length"] == "12"
    response = client.get("/raw")
    assert (response.content, response.headers["x-header-1"]) == (b"\x00\xff", "123")
    assert "x-worker" in response.headers


def test_a_redirect_is_quoted(client: httpx.Client) -> None:
    response = client.get("/redirect?code=303")
    assert (response.status_code, response.headers["location"]) == (303, "/text?from=I%20%E2%99%A5%20you")
    assert client.get("/redirect", follow_redirects=True).text == "hello, world"


@pytest.mark.parametrize("code", [200, 204, 205, 304, 404, 500, 599])
def test_every_status_leaves_the_connection_whole(client: httpx.Client, code: int) -> None:
    for _ in range(2):
        response = client.get(f"/status/{code}")
        assert (response.status_code, response.content) == (code, b"")


def test_head(client: httpx.Client) -> None:
    response = client.head("/text")
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "12")


def test_streams(client: httpx.Client) -> None:
    assert client.get("/streaming").text == "1, 2, 3, 4, 5"
    wait_until(lambda: "streamed" in client.get("/seen").json(), "the background task")
    assert client.get("/streaming?plain=1").text == "abc"
    response = client.get("/fixed", headers={"accept-encoding": "identity"})
    assert (response.content, response.headers["content-length"]) == (b"1234567890", "10")
    assert "transfer-encoding" not in response.headers


def test_files_whole_in_part_and_not_modified(client: httpx.Client) -> None:
    content = (APPS / "starlette_cases.py").read_bytes()
    plain = {"accept-encoding": "identity"}
    response = client.get("/file", headers=plain)
    assert response.content == content
    assert "cases%20%C3%A9.py" in response.headers["content-disposition"]
    part = client.get("/file", headers=plain | {"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    parts = client.get("/file", headers=plain | {"range": "bytes=0-9,20-29"})
    assert parts.status_code == 206
    assert content[20:30] in parts.content
    assert client.get("/file", headers=plain | {"range": "bytes=9999999-"}).status_code == 416


def test_gzip(client: httpx.Client) -> None:
    response = client.get("/url" + "x" * 7000)
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.json()["url"]) > 7000


# --- leaving ---------------------------------------------------------------------------------------------


def test_a_client_that_leaves_in_the_middle_of_its_body(client: httpx.Client, site: Server) -> None:
    with site.connect() as socket:
        socket.sendall(b"POST /wait-for-leaving HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
    wait_until(lambda: "left early" in client.get("/seen").json())


def test_a_client_that_leaves_before_its_response(client: httpx.Client, site: Server) -> None:
    with site.connect() as socket:
        socket.sendall(b"GET /poll-for-leaving HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: "polling" in client.get("/seen").json())
    wait_until(lambda: "left" in client.get("/seen").json())


# --- WebSockets ------------------------------------------------------------------------------------------


def test_bytes_are_echoed_and_the_close_code_is_heard(client: httpx.Client, site: Server) -> None:
    with websocket(site, "/echo") as socket:
        assert socket.response is not None
        assert socket.response.headers["x-greeting"] == "hi"
        socket.send(b"\x00\x01")
        assert socket.recv() == b"bytes: \x00\x01"
        socket.close(4321)
    wait_until(lambda: "closed 4321" in client.get("/seen").json())


def test_json_and_a_close_by_the_server(site: Server) -> None:
    with websocket(site, "/talk?a=1") as socket:
        url = site.url.replace("http", "ws", 1)
        assert json.loads(socket.recv()) == {"url": f"{url}/talk?a=1", "params": {"a": "1"}}
        socket.send(json.dumps({"x": [1]}))
        assert json.loads(socket.recv()) == {"message": {"x": [1]}}
        socket.send(json.dumps("stop"))
        with pytest.raises(ConnectionClosed):
            socket.recv()
        assert (socket.close_code, socket.close_reason) == (1001, "Going Away")


def test_a_subprotocol_is_chosen(site: Server) -> None:
    with websocket(site, "/subprotocol", subprotocols=["soap", "wamp"]) as socket:
        assert socket.subprotocol == "wamp"


@pytest.mark.parametrize(("path", "status"), [("/refuse", 403), ("/nowhere", 403), ("/deny", 403)])
def test_a_websocket_that_is_not_accepted(site: Server, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        websocket(site, path)
    assert refused.value.response.status_code == status
    if path == "/deny":
        assert refused.value.response.headers["x-why"] == "because"
        assert refused.value.response.body == b"not you"


def test_an_application_that_fails_closes_with_1011(site: Server) -> None:
    with websocket(site, "/fail") as socket:
        with pytest.raises(ConnectionClosed):
            socket.recv()
        assert socket.close_code == 1011
    site.wait_log("failed on purpose")
