from __future__ import annotations

import asyncio
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from prefork._engine import Engine
from prefork.kernel.loop import EngineLoop
from prefork.kernel.selector import EngineSelector


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_select_reports_what_was_registered(pair: tuple[socket.socket, socket.socket]) -> None:
    engine = Engine()
    selector = EngineSelector(engine)
    key = selector.register(pair[0], selectors.EVENT_READ, "data")
    assert selector.select(0) == []
    pair[1].send(b"x")
    assert selector.select(None) == [(key, selectors.EVENT_READ)]
    assert selector.select(60) == [(key, selectors.EVENT_READ)]
    key = selector.modify(pair[0], selectors.EVENT_WRITE)
    assert selector.select(0) == [(key, selectors.EVENT_WRITE)]
    assert selector.get_key(pair[0]) == key
    assert selector.unregister(pair[0]) == key
    assert selector.select(0) == []
    assert len(selector.get_map()) == 0
    selector.close()
    engine.close()


def test_a_wait_without_end_is_asked_for_and_may_be_refused() -> None:
    engine = Engine()
    asked: list[None] = []
    selector = EngineSelector(engine, lambda: bool(asked.append(None)))
    assert selector.select(None) == []
    assert asked == [None]
    assert selector.select(0.001) == []
    assert asked == [None]
    selector.close()
    engine.close()


def test_any_asyncio_library_works_on_the_loop() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    async def talk() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        in_thread = await asyncio.to_thread(lambda: b"thread")
        process = await asyncio.create_subprocess_exec("echo", "process", stdout=asyncio.subprocess.PIPE)
        out, _ = await asyncio.wait_for(process.communicate(), 10)
        return line + in_thread + out

    loop = EngineLoop()
    try:
        assert loop.run_until_complete(talk()) == b"hello\nthreadprocess\n"
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_watching_counts_no_descriptor_of_asyncio_itself(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = EngineLoop()
    assert not loop.is_watching()
    loop.add_reader(pair[0], lambda: None)
    assert loop.is_watching()
    loop.remove_reader(pair[0])
    assert not loop.is_watching()
    loop.close()


def test_a_discarded_loop_frees_its_descriptors_and_runs_no_finally() -> None:
    unwound: list[str] = []

    async def suspended() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            unwound.append("finally")

    before = len(os.listdir("/proc/self/fd"))
    loop = EngineLoop()
    task = loop.create_task(suspended())
    loop.call_later(0, loop.stop)
    loop.run_forever()
    loop.discard()
    assert loop.is_closed()
    assert unwound == []
    assert len(os.listdir("/proc/self/fd")) == before
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # a real child never frees it
    task.get_coro().close()


def test_a_loop_that_a_parent_has_made_runs_in_a_child_with_descriptors_of_its_own() -> None:
    async def ask_a_thread() -> str:
        return await asyncio.to_thread(lambda: "woken")

    loop = EngineLoop()
    loop.engine.close()
    ends = [end.fileno() for end in (loop._ssock, loop._csock)]  # type: ignore[attr-defined]
    parents = [os.dup(end) for end in ends]
    former = loop.reopen()  # as a child does
    assert loop.engine is not former
    assert all(not os.get_inheritable(end) and not os.get_blocking(end) for end in ends)
    assert not any(map(os.path.sameopenfile, ends, parents))
    try:
        assert loop.run_until_complete(ask_a_thread()) == "woken"
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    for end in parents:
        with pytest.raises(BlockingIOError):  # nothing came through them, and they are not closed
            os.read(end, 1)
    for end in parents:
        os.close(end)


class Policy(asyncio.DefaultEventLoopPolicy):
    """One that waits for no subprocess, as uvloop's."""

    def get_child_watcher(self) -> Any:
        raise NotImplementedError


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio has no child watchers any more")
def test_a_subprocess_starts_whatever_policy_the_application_sets() -> None:
    async def shout() -> bytes:
        process = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        return said + str(process.returncode).encode()

    former = asyncio.get_event_loop_policy()
    policy = Policy()
    asyncio.set_event_loop_policy(policy)
    loop = EngineLoop()
    try:
        assert [loop.run_until_complete(shout()) for _ in range(2)] == [b"hello\n0"] * 2
        assert asyncio.get_event_loop_policy() is policy
    finally:
        asyncio.set_event_loop_policy(former)
        loop.close()


@pytest.mark.parametrize("other_is", ["closed", "running"])
def test_a_signal_is_heard_although_another_loop_took_the_descriptor_for_it(other_is: str) -> None:
    heard: list[str] = []
    loop = EngineLoop()
    loop.add_signal_handler(signal.SIGUSR1, heard.append, "ours")

    async def run() -> None:  # as synchronous code that the engine calls may do
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, heard.append, "other's")
        if other_is == "running":
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR2)
            await asyncio.sleep(0.01)
            assert heard == ["other's"]

    async def wait() -> None:
        if other_is == "closed":
            signal.raise_signal(signal.SIGUSR1)
        while "ours" not in heard:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)

    try:
        asyncio.run(run())
        loop.run_until_complete(asyncio.wait_for(wait(), 20))
        signal.raise_signal(signal.SIGUSR1)
        loop.run_until_complete(asyncio.sleep(0.01))
        assert heard.count("ours") == 2
    finally:
        loop.close()


def test_a_signal_that_comes_while_it_closes_leaves_no_closed_descriptor_to_write_to() -> None:
    loop: Any = EngineLoop()
    loop.bind_signal(signal.SIGUSR1, lambda _signum: None)
    loop.keep_signals()
    close = loop._close_self_pipe

    def close_late() -> None:
        signal.raise_signal(signal.SIGUSR1)
        close()

    loop._close_self_pipe = close_late
    loop.close()
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        loop.give_signals_back()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
