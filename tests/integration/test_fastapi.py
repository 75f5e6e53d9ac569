"""FastAPI with a WebSocket and streaming routes, on both loops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from support.apps import APPS
from support.server import Server, running
from support.waiting import wait_until


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def site(request: pytest.FixtureRequest) -> Iterator[Server]:
    options = ("--bind", "127.0.0.1:0", "--workers", "1", "--loop", request.param)
    with running(str(APPS / "fastapi_board.py"), *options) as server:
        yield server
        assert server.stop() == 0


def test_paths_queries_and_bodies_are_typed(client: httpx.Client) -> None:
    assert client.get("/items/7?limit=3").json() == {"number": 7, "limit": 3}
    assert client.get("/items/seven").status_code == 422
    response = client.post("/items", json={"name": "cup", "price": 2.5})
    assert (response.status_code, response.json()) == (201, {"name": "cup", "price": 2.5})
    assert client.get("/openapi.json").json()["paths"].keys() >= {"/items", "/stream"}
    assert "swagger" in client.get("/docs").text


def test_the_state_of_the_lifespan_reaches_a_handler_in_a_thread(client: httpx.Client) -> None:
    about = client.get("/sync").json()
    assert about["worker"] == about["pid"]


def test_errors(client: httpx.Client, site: Server) -> None:
    response = client.get("/missing")
    assert (response.status_code, response.json(), response.headers["x-reason"]) == (
        404,
        {"detail": "not here"},
        "none",
    )
    assert client.get("/broken").status_code == 500
    site.wait_log("broken on purpose")
    assert client.get("/items/1").status_code == 200


def test_an_upload_and_a_streamed_body(client: httpx.Client) -> None:
    files = {"file": ("a.bin", b"u" * 2_000_000)}
    assert client.post("/upload", files=files, data={"note": "n"}).json() == {
        "name": "a.bin",
        "size": 2_000_000,
        "note": "n",
    }
    measured = client.post("/measure", content=(b"m" * 10_000 for _ in range(100))).json()
    assert measured["size"] == 1_000_000
    assert measured["pieces"] > 2


def test_streams(client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as response:
        assert list(response.iter_lines()) == [f"piece {number}" for number in range(5)]
    assert client.get("/events").text.count("data: tick") == 3
    assert client.get("/file").content == (APPS / "fastapi_board.py").read_bytes()


def test_a_background_task_runs_after_the_response(client: httpx.Client) -> None:
    assert client.get("/later").json() == "soon"
    wait_until(lambda: "done" in client.get("/done").json())


def test_a_websocket(site: Server) -> None:
    url = site.url.replace("http", "ws") + "/ws/lobby"
    with connect(url, proxy=None) as socket:
        socket.send("hello")
        assert socket.recv() == "lobby: hello"
        socket.send("x" * 100_000)
        assert len(socket.recv()) == 100_007
        socket.send("leave")
        with pytest.raises(Exception, match="4000"):
            socket.recv()
        assert (socket.close_code, socket.close_reason) == (4000, "bye")


def test_many_at_once(site: Server) -> None:
    async def ask() -> list[int]:
        async with httpx.AsyncClient(base_url=site.url, trust_env=False) as client:
            responses = await asyncio.gather(*(client.get("/stream") for _ in range(60)))
        return [response.status_code for response in responses]

    assert asyncio.run(ask()) == [200] * 60
