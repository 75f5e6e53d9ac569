"""Flask, with httpx and curl as clients."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.apps import APPS
from support.server import Server, running


@pytest.fixture(
    scope="module",
    params=[("--workers", "2"), ("--workers", "1", "--threads", "4")],
    ids=["processes", "threads"],
)
def site(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(str(APPS / "flask_shop.py"), "--bind", "127.0.0.1:0", *request.param) as server:
        yield server
        assert server.stop() == 0


def test_a_page(client: httpx.Client) -> None:
    response = client.get("/hello/W%C3%B6rld")
    assert response.text.startswith("Hello Wörld, from ")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-length"] == str(len(response.content))


def test_head_has_no_body(client: httpx.Client) -> None:
    response = client.head("/hello/you")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


def test_forms_and_query(client: httpx.Client) -> None:
    response = client.post("/form?q=grün", data={"a": ["1", "2"], "b": "ü"})
    assert response.json() == {"fields": {"a": ["1", "2"], "b": ["ü"]}, "args": {"q": "grün"}}


def test_json_both_ways(client: httpx.Client) -> None:
    assert client.post("/json", json={"n": [1, None, "é"]}).json() == {"n": [1, None, "é"]}
    assert client.post("/json", content=b"{", headers={"content-type": "application/json"}).status_code == 400


def test_an_upload(client: httpx.Client) -> None:
    content = b"x" * 3_000_000
    response = client.post("/upload", files={"file": ("a.bin", content, "image/png")})
    assert response.json() == {"name": "a.bin", "type": "image/png", "size": 3_000_000}


def test_a_chunked_body_arrives_whole_and_with_its_length(client: httpx.Client) -> None:
    response = client.post("/raw", content=(b"y" * 1000 for _ in range(700)))
    assert response.json() == {"length": 700_000, "size": 700_000}


def test_a_session_lives_in_a_cookie(client: httpx.Client) -> None:
    assert [client.get("/count").text for _ in range(3)] == ["1", "2", "3"]
    response = client.get("/cookies")
    assert [value.split(";")[0] for value in response.headers.get_list("set-cookie")] == ["a=1", "b=2"]


def test_a_stream(client: httpx.Client) -> None:
    with client.stream("GET", "/lines") as response:
        assert response.headers["transfer-encoding"] == "chunked"
        assert list(response.iter_lines()) == [f"line {number} of /lines" for number in range(3)]


def test_redirects_and_errors(client: httpx.Client, site: Server) -> None:
    assert client.get("/away", follow_redirects=True).text.startswith("Hello there")
    assert client.get("/nowhere").status_code == 404
    assert client.post("/hello/you").status_code == 405
    assert client.get("/teapot").status_code == 418
    assert client.get("/broken").status_code == 500
    site.wait_log("broken on purpose")


def test_flask_knows_its_url(client: httpx.Client, site: Server) -> None:
    about = client.get("/about?x=1").json()
    assert about == {"url": f"{site.url}/about?x=1", "remote": "127.0.0.1", "script": "", "method": "GET"}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_sends_a_large_form_with_expect(site: Server, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(b"z" * 2_500_000)
    command = ["curl", "-sS", "-H", "Expect: 100-continue", "-F", f"file=@{file}", f"{site.url}/upload"]
    response = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert '"size":2500000' in response.stdout
