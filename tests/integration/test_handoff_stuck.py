"""A request that waits behind a stuck handler: a spare serves it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support import tls
from support.apps import APPS
from support.pool import PID, MakePool, Pool, is_silent, pid_serving, read_bodies
from support.processes import state
from support.responses import read_all, read_response
from support.server import Serve, run_prefork, status_json
from support.waiting import wait_until

QUICK_S = 0.1
"""Far more than it takes, and far less than any handler here is stuck."""


@tls.plain_and_tls
def test_a_spare_serves_what_waits_behind_a_stuck_handler(pool: MakePool, flags: Sequence[str]) -> None:
    server = pool("--workers", "2", *flags)
    workers = set(server.wait_workers(2))
    stuck, (first, second) = server.connect_to_one_worker()
    server.block_worker(first)
    (spare,) = workers - {stuck}
    began = time.monotonic()
    assert pid_serving(second) == spare
    took_s = time.monotonic() - began
    print(f"served after {took_s * 1000:.1f} ms")
    assert took_s < QUICK_S
    assert is_silent(first, 0.0)
    wait_until(lambda: server.workers("active") == [stuck], "the spare to have ended its request")
    assert pid_serving(second) == spare  # it has moved
    wait_until(lambda: server.totals["adopted"] == 1, "it is counted")
    reported = {
        worker["pid"]: (worker["handed_off"], worker["adopted"]) for worker in server.status()["workers"]
    }
    assert reported == {stuck: (1, 0), spare: (0, 1)}
    server.release()
    assert int(read_response(first)[2]) == stuck
    assert pid_serving(first) == stuck


def test_pipelined_requests_move_together(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    server.block_worker(first)
    second.sendall(PID + b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n" + PID)
    before, one, after = read_bodies(second, 3)
    assert int(before) != stuck
    assert (one, after) == (b"one", before)


def test_many_connections_are_served_while_one_worker_is_stuck(pool: MakePool) -> None:
    server = pool("--workers", "3")
    server.wait_workers(3)
    stuck, (first, *others) = server.connect_to_one_worker(12)
    server.block_worker(first)
    for sock in others:
        sock.sendall(PID)
    assert stuck not in {int(read_response(sock)[2]) for sock in others}
    wait_until(lambda: server.totals["handed_off"] == 11, "all to be counted")


def test_a_pool_of_one_keeps_what_it_has(pool: MakePool) -> None:
    server = pool("--workers", "1")
    server.wait_workers(1)
    only, (first, second) = server.connect_to_one_worker()
    server.block_worker(first)
    second.sendall(PID)
    assert is_silent(second)
    server.release()
    assert int(read_response(first)[2]) == int(read_response(second)[2]) == only
    assert server.totals["handed_off"] == 0


@pytest.mark.parametrize(
    ("options", "guards"),
    [
        ("--workers 1", 0),
        ("--workers 2", 1),
        ("--workers 1 --request-timeout 5", 1),
        ("--max-clients 1 --start 1", 0),
    ],
)
def test_a_guard_is_there_if_it_has_something_to_do(pool: MakePool, options: str, guards: int) -> None:
    server = pool(*options.split())
    worker, *_ = server.wait_workers(2 if "2" in options else 1)

    def threads() -> list[str]:
        return [thread.read_text().strip() for thread in Path(f"/proc/{worker}/task").glob("*/comm")]

    wait_until(lambda: threads().count("guard") == guards, "the guard to have its name")


@contextlib.contextmanager
def keeping_busy(server: Pool) -> Iterator[list[int]]:
    """Have the worker that accepts next serve one request after another, of 5 ms each. Counts them."""
    request = b"GET /do?__import__('time').sleep(0.005) HTTP/1.1\r\nHost: x\r\n\r\n"
    counted: list[int] = []
    ended = threading.Event()

    def ask(socks: list[socket.socket]) -> None:
        for sock in socks:
            sock.sendall(request)
        while not ended.is_set():
            for sock in socks:
                counted.append(read_response(sock)[0])
                sock.sendall(request)

    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect()) for _ in range(4)]
        asking = threading.Thread(target=ask, args=(socks,))
        asking.start()
        wait_until(lambda: len(counted) > 10, "it to be busy")
        try:
            yield counted
        finally:
            ended.set()
            asking.join()


def test_a_busy_worker_takes_what_waits_behind_a_stuck_one(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, *others) = server.connect_to_one_worker(12)
    server.block_worker(first)
    with keeping_busy(server) as counted:
        before = len(counted)
        for sock in others:
            sock.sendall(PID)
        assert stuck not in {int(read_response(sock)[2]) for sock in others}
        print(f"served among {len(counted) - before} others")
        assert len(counted) - before < 100
    assert is_silent(first, 0.0)


@tls.plain_and_tls
def test_nothing_is_handed_off_while_every_worker_is_stuck(pool: MakePool, flags: Sequence[str]) -> None:
    server = pool("--workers", "2", *flags)
    server.wait_workers(2)
    _, (first, second) = server.connect_to_one_worker()
    server.block_worker(first)
    server.hold(1)

    def are_stuck() -> bool:
        requests = [worker["request"] for worker in server.status()["workers"]]
        return all(request and request["age_s"] > QUICK_S for request in requests)

    wait_until(are_stuck, "both are stuck")
    second.sendall(PID)
    assert is_silent(second)
    assert server.totals["handed_off"] == 0
    server.release()
    assert read_response(second)[0] == 200


def test_a_connection_whose_end_the_application_waits_for_stays(pool: MakePool) -> None:
    server = pool("--workers", "2", app="pool_functions.py")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    second.sendall(b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
    read_response(second)
    server.block_worker(first)
    second.sendall(PID)
    assert is_silent(second)
    server.release()
    assert int(read_response(second)[2]) == stuck


# --- what the worker has read of a connection -------------------------------------------------------------

LARGE = PID[:-2] + b"X-Large: " + b"x" * 8000 + b"\r\n" + b"Y: y\r\n" * 60 + b"\r\n"


@pytest.mark.parametrize("request_head", [PID, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("cut", [1, 11, 25, -1], ids=["1", "11", "25", "all but one"])
def test_a_head_that_was_half_read_moves(pool: MakePool, request_head: bytes, cut: int) -> None:
    """A second request behind it moves along."""
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    second.sendall(request_head[:cut])
    server.wait_read(stuck)
    server.block_worker(first)
    second.sendall(request_head[cut:] + PID)
    one, other = read_bodies(second, 2)
    assert int(one) == int(other) != stuck
    server.release()
    assert int(read_response(first)[2]) == stuck


def test_a_head_moves_as_often_as_a_part_of_it_comes(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    second.sendall(PID[:5])
    server.wait_read(stuck)
    server.block_worker(first)
    second.sendall(PID[5:10])
    wait_until(lambda: server.totals["adopted"] == 1, "it has moved")
    (other,) = set(server.workers()) - {stuck}
    server.release()
    assert int(read_response(first)[2]) == stuck
    (server.directory / "release").unlink()
    with contextlib.ExitStack() as stack:
        while True:
            third = stack.enter_context(server.connect())
            if pid_serving(third) == other:
                break
        server.block_worker(third)
        second.sendall(PID[10:15])
        wait_until(lambda: server.totals["adopted"] == 2, "it has moved again")
        second.sendall(PID[15:])
        assert int(read_response(second)[2]) == stuck
        server.release()
        read_response(third)


def test_a_head_that_moves_gets_no_more_time(pool: MakePool) -> None:
    """Each move would begin it again otherwise."""
    server = pool("--workers", "2", "--header-timeout", "3")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    began = time.monotonic()
    second.sendall(PID[:5])
    server.wait_read(stuck)
    server.block_worker(first)
    wait_until(lambda: time.monotonic() > began + 2, "most of the time to be over")
    second.sendall(PID[5:10])
    assert read_response(second)[0] == 408
    took_s = time.monotonic() - began
    print(f"408 after {took_s:.1f} s")
    assert took_s < 5  # it moved after 2 s
    assert server.totals["adopted"] == 1
    server.release()


def test_the_scoreboard_tells_what_the_guard_has_handed_off(pool: MakePool) -> None:
    """The main thread is still stuck, or waits for long when its turn has ended."""
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    before = server.worker_of(stuck)["connections"]
    server.block_worker(first)
    assert pid_serving(second) != stuck
    wait_until(lambda: server.worker_of(stuck)["connections"] == before - 1, "it has one less")
    server.release()


@tls.plain_and_tls
def test_a_response_that_the_client_reads_slowly_goes_on_behind_a_stuck_handler(
    pool: MakePool, flags: tuple[str, ...]
) -> None:
    """Then the connection moves with the next request."""
    server = pool("--workers", "2", *flags)
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    size = 8_000_000
    second.sendall(f"GET /do?'x'*{size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert second.recv(1, socket.MSG_PEEK)
    server.wait_read(stuck)
    server.block_worker(first)
    second.sendall(PID)
    large, after = read_bodies(second, 2)
    assert len(large) == size + len('{"value": ""}')
    assert int(after) != stuck
    assert is_silent(first, 0.0)
    server.release()


def test_a_last_response_ends_behind_a_stuck_handler(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    size = 8_000_000
    second.sendall(f"GET /do?'x'*{size} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    assert second.recv(1, socket.MSG_PEEK)
    server.wait_read(stuck)
    server.block_worker(first)
    assert len(read_all(second)) > size
    assert is_silent(first, 0.0)
    server.release()


def test_a_worker_that_is_killed_loses_nothing_that_it_has_not_taken(pool: MakePool) -> None:
    """What was read of a head is in the queue with its connection."""
    server = pool("--workers", "2")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    (other,) = set(server.workers()) - {stuck}
    second.sendall(PID[:5])
    server.wait_read(stuck)
    server.block_worker(first)
    os.kill(other, signal.SIGSTOP)
    wait_until(lambda: state(other) == "T", "it stands still")
    second.sendall(PID[5:])
    wait_until(lambda: server.totals["handed_off"] == 1, "it is in the queue")
    os.kill(other, signal.SIGKILL)
    assert int(read_response(second)[2]) not in (stuck, other)
    server.release()
    assert int(read_response(first)[2]) == stuck


def test_an_async_handler_that_blocks_is_stuck_too(pool: MakePool) -> None:
    server = pool("--workers", "2", app="pool_functions.py")
    server.wait_workers(2)
    stuck, (first, second) = server.connect_to_one_worker()
    first.sendall(b"GET /hold_in_task HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.totals["active"] == 1, "it is stuck")
    assert pid_serving(second) != stuck
    server.release()
    assert int(read_response(first)[2]) == stuck


ASGI = APPS / "asgi_blocks.py"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_task_that_blocks_in_a_later_step_is_stuck_as_well(serve: Serve, tmp_path: Path, loop: str) -> None:
    begun, release = tmp_path / "stuck", tmp_path / "release"
    server = serve(
        ASGI, "--workers", "2", "--loop", loop, parameters={"stuck": str(begun), "release": str(release)}
    )
    with contextlib.ExitStack() as stack:
        by_pid: dict[int, list[socket.socket]] = {}
        while not any(len(found) == 2 for found in by_pid.values()):
            sock = stack.enter_context(server.connect())
            by_pid.setdefault(pid_serving(sock), []).append(sock)
        stuck, (first, second) = next((pid, found) for pid, found in by_pid.items() if len(found) == 2)
        first.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(begun.exists, "it is stuck")
        began = time.monotonic()
        assert pid_serving(second) != stuck
        print(f"served after {(time.monotonic() - began) * 1000:.1f} ms")
        release.touch()
        assert int(read_response(first)[2]) == stuck


def test_a_worker_that_is_busy_with_async_requests_leaves_new_ones_to_a_spare(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    busy, (first, second) = server.connect_to_one_worker()
    first.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.totals["active"] == 1, "it is busy")
    assert pid_serving(second) != busy
    server.release()
    assert int(read_response(first)[2]) == busy


def test_concurrency_says_how_many_requests_a_worker_takes(pool: MakePool) -> None:
    server = pool("--workers", "2", "--concurrency", "2")
    server.wait_workers(2)
    busy, (first, second, third) = server.connect_to_one_worker(3)
    first.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.worker_of(busy)["in_flight"] == 1, "it has one")
    second.sendall(b"GET /ahold HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.worker_of(busy)["in_flight"] == 2, "it has two")
    assert pid_serving(third) != busy
    server.release()
    assert int(read_response(second)[2]) == busy


def test_what_is_handed_off_is_shown(pool: MakePool) -> None:
    server = pool("--workers", "2")
    server.wait_workers(2)
    _, (first, second) = server.connect_to_one_worker()
    server.block_worker(first)
    pid_serving(second)
    wait_until(lambda: server.totals["adopted"] == 1, "it is counted")
    assert server.glue
    reported = status_json(server.glue)
    assert (reported["totals"]["handed_off"], reported["totals"]["adopted"]) == (1, 1)
    shown = run_prefork("status", "--glue", server.glue).stdout
    assert "1 handed off, 1 adopted" in shown


def test_a_child_that_a_stuck_handler_forks_finds_the_engine_free(pool: MakePool) -> None:
    server = pool("--workers", "2", app="pool_functions.py")
    server.wait_workers(2)
    assert server.get("/fork") == b"{0}"
