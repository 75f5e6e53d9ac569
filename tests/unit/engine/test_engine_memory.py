"""What the engine's objects hold on to, and that all of it is given back."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import socket
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

from prefork import Request, Response
from prefork._engine import StartResponse
from support.engine import RunEngine, Service, raw_request
from support.leaving import reset

REQUESTS = 20_000
BATCH = 50


class Holder:
    """Something that can be seen to go away; whatever it is given it holds."""

    def __init__(self, *held: Any) -> None:
        self.held = held


@pytest.mark.parametrize("by", ["content", "handler", "match", "both"])
def test_a_cycle_through_request_and_response_is_collected(run_engine: RunEngine, by: str) -> None:
    seen: list[weakref.ref[Holder]] = []

    def handler(request: Request, response: Response) -> None:
        response.done()
        holder = Holder(request, response)
        if by == "match":
            request.match = holder  # type: ignore[assignment]
        elif by == "both":
            request.match = response  # type: ignore[assignment]
            response.handler = holder
        else:
            setattr(response, by, holder)
        seen.append(weakref.ref(holder))

    there = run_engine(handler)
    there.get()
    there.service.ended.clear()
    gc.collect()
    assert [holder() for holder in seen] == [None]


@pytest.mark.parametrize("responds", [True, False])
def test_a_cycle_through_a_wsgi_response_is_collected(run_engine: RunEngine, responds: bool) -> None:
    seen: list[weakref.ref[Holder]] = []

    def handler(_request: Request, response: Response) -> None:
        assert isinstance(response, StartResponse)
        response.handler = Holder(response)
        seen.append(weakref.ref(response.handler))
        if responds:
            response("200 OK", [])
            response.respond([])

    service = Service(handler)
    service.uses_start_response = True
    there = run_engine(service=service)
    client = there.connect(raw_request())
    there.turn_until(lambda: seen)
    service.ended.clear()
    gc.collect()
    assert there.read(client, b"\r\n\r\n" if responds else None).startswith(
        b"HTTP/1.1 200 " if responds else b"HTTP/1.1 500 "
    )
    service.ended.clear()
    service.unanswered_handlers.clear()
    gc.collect()
    assert [holder() for holder in seen] == [None]


def test_a_response_that_is_dropped_in_a_cycle_is_served_and_names_its_handler(
    run_engine: RunEngine,
) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.handler = "H"
        response.content = Holder(response)  # type: ignore[assignment]

    there = run_engine(handler)
    client = there.connect(raw_request())
    there.turn_until(lambda: there.engine.in_flight)
    gc.collect()
    assert there.read(client).startswith(b"HTTP/1.1 500 ")
    assert there.service.unanswered_handlers == ["H"]


def test_collecting_in_the_middle_of_a_request_harms_nothing(run_engine: RunEngine) -> None:
    def handler(_request: Request, response: Response) -> None:
        response.headers.add("X", "1")
        gc.collect()
        response.content = Holder(response)  # type: ignore[assignment]
        gc.collect()
        response.content = "fine"
        response.done()
        gc.collect()

    assert run_engine(handler).get().body == b"fine"


@pytest.mark.parametrize("ending", ["the response", "the client"])
@pytest.mark.parametrize("way", ["when_gone", "when_drained", "when_closed"])
def test_a_callback_is_let_go_once_it_cannot_be_called_any_more(
    run_engine: RunEngine, way: str, ending: str
) -> None:
    seen: list[weakref.ref[Holder]] = []
    kept: list[Response] = []

    def handler(_request: Request, response: Response) -> None:
        holder = Holder()
        seen.append(weakref.ref(holder))
        response.write("a")
        source = response.connection if way == "when_closed" else response
        assert getattr(source, way)(lambda *_: holder)
        kept.append(response)

    there = run_engine(handler)
    client = there.connect(raw_request())
    there.turn_until(lambda: kept)
    if ending == "the response":
        kept.pop().done()
        there.read(client, enough=b"0\r\n\r\n")
        there.engine.poll(0)
    if ending == "the client" or way == "when_closed":
        reset(client)
        there.turn_until(lambda: there.engine.connections == 0)
        there.engine.poll(0)
    assert [holder() for holder in seen] == [None]


def test_a_large_content_is_not_copied_and_is_freed_when_it_has_left(run_engine: RunEngine) -> None:
    page = bytes(30_000_000)
    held = sys.getrefcount(page)

    def handler(_request: Request, response: Response) -> None:
        response.content = page
        response.done()

    there = run_engine(handler)
    client = there.connect(raw_request("/", "Connection: close"))
    there.turn_until(lambda: there.service.ended)
    there.service.ended.clear()
    assert sys.getrefcount(page) == held + 1
    assert len(there.read(client)) > len(page)
    assert sys.getrefcount(page) == held


def test_an_engine_that_is_closed_releases_its_service(run_engine: RunEngine) -> None:
    there = run_engine()
    there.get()
    there.service.ended.clear()
    gone = weakref.ref(there.service)
    there.engine.close()
    del there.service
    assert gone() is None


def give_back() -> None:
    """Gives the system what was freed: what is resident then is in use."""
    ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    give_back()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("kind", ["whole", "streamed", "dropped", "refused", "posted", "spooled"])
def test_many_requests_leave_nothing_behind(run_engine: RunEngine, kind: str) -> None:
    asked = 0

    def handler(request: Request, response: Response) -> None:
        nonlocal asked
        asked += 1
        request.match = response  # type: ignore[assignment]
        response.header("X-Path", request.path)
        response.connection.when_closed(lambda: None)
        response.when_gone(lambda: response)
        if kind == "streamed":
            response.write("hello")
            response.when_drained(lambda _: response)
        elif kind == "dropped":
            response.content = response  # type: ignore[assignment]
            return
        elif kind == "refused":
            response.code = 99
        response.content = request.content or "hello"
        response.done()

    class Quiet(Service):
        def request_ended(self, *_: object) -> None:
            pass

        access_log = None
        client_error = server_warning = unanswered = request_ended  # type: ignore[assignment]

    data = raw_request("/" + "p" * 100)
    if kind in ("posted", "spooled"):
        body = b"b" * 2000
        data = raw_request("/", f"Content-Length: {len(body)}", method="POST") + body
    # In memory: each of 20,000 files would wait for the disk, and for what else is written to it.
    spool = {"spool_above": 1000, "spool_dir": "/dev/shm"} if kind == "spooled" else {}
    there = run_engine(service=Quiet(handler), **spool)

    def send(requests: int) -> None:
        end = asked + requests
        while asked < end:
            client = there.connect(data * BATCH)
            if kind == "dropped":  # in a cycle: only a collection would end the response
                there.turn_until(lambda: there.engine.in_flight == 1)
                reset(client)
                there.turn_until(lambda: there.engine.in_flight == 0)
            else:
                client.shutdown(socket.SHUT_WR)
                there.read(client)
            there.clients.clear()
        there.turn_until(lambda: there.engine.connections == 0)
        there.engine.poll(0)
        gc.collect()
        there.engine.poll(0)  # it forgets the responses that were collected

    former = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        send(1000)
        blocks, bytes_, descriptors = (
            sys.getallocatedblocks(),
            resident_bytes(),
            len(os.listdir("/proc/self/fd")),
        )
        send(REQUESTS)
    finally:
        sys.unraisablehook = former
    grown = sys.getallocatedblocks() - blocks, resident_bytes() - bytes_
    print(f"{kind}: {grown[0]} blocks, {grown[1] / 1024:.0f} KiB")
    assert grown[0] < 200
    assert grown[1] < 1 << 19  # 26 bytes for each request
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert there.engine.in_flight == 0


def test_what_waited_for_a_late_response_goes_with_a_request_that_is_closed(run_engine: RunEngine) -> None:
    seen: list[weakref.ref[Holder]] = []

    def handler(_request: Request, response: Response) -> None:
        holder = Holder()
        response.when_overdue(lambda: holder.held)
        seen.append(weakref.ref(holder))
        response.close()

    there = run_engine(handler)
    there.read(there.connect(raw_request()))
    gc.collect()
    assert [holder() for holder in seen] == [None]


def test_the_gaps_that_were_filled_are_not_used_again() -> None:
    program = """if True:
        from prefork._engine import fill_heap
        # A size of CPython's own allocator, and one that it leaves to malloc.
        for size in (60, 1000):
            objects = [bytes(size) for _ in range(4000)]
            gaps = {id(freed) for freed in objects[::2]}
            del objects[::2]
            assert fill_heap() >= len(gaps) * size
            later = [bytes(size) for _ in range(1000)]
            assert not gaps.intersection(map(id, later)), size
    """
    subprocess.run([sys.executable, "-c", program], check=True)  # apart: what is taken is gone for good


def test_a_spooled_body_takes_its_size_once(run_engine: RunEngine) -> None:
    size = 50_000_000
    grown: list[int] = []

    def handler(request: Request, response: Response) -> None:
        give_back()  # what earlier tests have freed would take the body unseen
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before = peak_bytes()
        assert len(request.content) == size
        grown.append(peak_bytes() - before)
        response.done()

    there = run_engine(handler, spool_above=1000)
    client = there.connect(raw_request("/", f"Content-Length: {size}", method="POST"))
    client.setblocking(True)
    sending = threading.Thread(target=client.sendall, args=(bytes(size),))
    sending.start()
    there.turn_until(lambda: grown)
    sending.join()
    assert size * 0.9 < grown[0] < size * 1.5


def peak_bytes() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
