"""The tasks of a loop as text."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from prefork.kernel import task_stacks
from prefork.kernel.task_stacks import describe_tasks

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.SelectorEventLoop, uvloop.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main)

    return run


Run = Callable[[Coroutine[Any, Any, None]], None]


async def inner(event: asyncio.Event) -> None:
    await event.wait()


async def outer(event: asyncio.Event) -> None:
    await inner(event)


async def waits_for(awaited: Awaitable[Any]) -> None:
    await awaited


async def settle() -> str:
    """What is shown when every task waits, without this one."""
    for _ in range(3):
        await asyncio.sleep(0)
    text = describe_tasks(asyncio.get_running_loop())
    own: list[str] = []
    found: list[str] = []
    for part in text.split("Task ")[1:]:
        (own if "  runs now" in part else found).append(part)
    assert len(own) == 1
    return "Task ".join(["", *found])


def test_a_task_is_shown_with_its_coroutines_the_innermost_first(run: Run) -> None:
    async def main() -> None:
        task = asyncio.create_task(outer(asyncio.Event()), name="one")
        lines = (await settle()).splitlines()
        assert lines[:2] == ['Task "one" (most recent call first):', "  waits for Future"]
        assert [line.rsplit(" in ", 1)[1] for line in lines[2:]] == ["Event.wait", "inner", "outer"]
        assert lines[3] == f'  File "{__file__}", line {inner.__code__.co_firstlineno + 1} in inner'
        task.cancel()

    run(main())


def test_what_a_task_waits_for(run: Run) -> None:
    async def main() -> None:
        event = asyncio.Event()
        first = asyncio.create_task(inner(event), name="first")
        made = [first, asyncio.create_task(waits_for(first), name="second")]
        made.append(asyncio.create_task(waits_for(asyncio.gather(first)), name="third"))
        text = await settle()
        assert 'Task "second" (most recent call first):\n  waits for task "first"\n' in text
        assert 'Task "third" (most recent call first):\n  waits for GatheringFuture\n' in text
        made.append(asyncio.create_task(inner(event), name="new"))
        assert 'Task "new" (most recent call first):\n  is about to run\n' in describe_tasks(
            asyncio.get_running_loop()
        )
        for task in made:
            task.cancel()

    run(main())


def test_tasks_at_one_place_are_shown_once_those_of_most_places_first(run: Run) -> None:
    async def main() -> None:
        event = asyncio.Event()
        made = [asyncio.create_task(inner(event), name="alone")]
        made += [asyncio.create_task(outer(event), name="same") for _ in range(12)]
        text = await settle()
        assert text.startswith('Task "same" and 11 more (most recent call first):\n')
        assert text.count("Task ") == 2
        for task in made:
            task.cancel()

    run(main())


def test_generators_and_coroutines_written_in_c(run: Run) -> None:
    async def generate() -> AsyncIterator[int]:
        await asyncio.sleep(60)
        yield 1

    async def loops() -> None:
        async for _ in generate():
            pass

    async def main() -> None:
        made = [asyncio.create_task(loops(), name="generator"), asyncio.create_task(Native(), name="native")]
        text = await settle()
        assert " in test_generators_and_coroutines_written_in_c.<locals>.loops" in text
        assert 'Task "native" (most recent call first):\n  waits for Future\n  in Native' in text
        for task in made:
            task.cancel()

    run(main())


class Native(Coroutine[Any, Any, None]):
    """As the coroutines of an extension: it has no frame."""

    def __init__(self) -> None:
        self.future = asyncio.get_running_loop().create_future()

    def send(self, _value: None) -> Any:
        self.future._asyncio_future_blocking = True
        return self.future

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None: ...

    def __await__(self) -> Any:
        raise NotImplementedError


def test_names_control_no_terminal_and_end_no_line(run: Run) -> None:
    async def main() -> None:
        space: dict[str, Any] = {}
        code = compile("async def call(event): await event.wait()", "/srv/\x1b[2J\nfile.py", "exec")
        exec(code, space)
        task = asyncio.create_task(space["call"](asyncio.Event()), name="a\nTask \x1b" + "b" * 100)
        text = await settle()
        assert f'Task "a\\nTask \\x1b{"b" * 72}" (most' in text
        assert 'File "/srv/\\x1b[2J\\nfile.py", line 1 in call' in text
        assert all(line.isprintable() for line in text.splitlines())
        task.cancel()

    run(main())


def test_the_text_is_limited(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def deep(levels: int) -> None:
        if levels:
            await deep(levels - 1)
        await asyncio.sleep(60)

    async def main() -> None:
        made = [asyncio.create_task(deep(levels)) for levels in range(100)]
        text = await settle_all()
        assert len(text) <= task_stacks.MOST_TEXT + 100
        assert text.splitlines()[-1].endswith(" more tasks")
        assert max(part.count("\n") for part in text.split("Task ")) <= task_stacks.MOST_LINES + 1
        monkeypatch.setattr(task_stacks, "MOST_FRAMES", 20)
        few = await settle_all()
        assert few.count("Task ") < 20
        shown = few.count("Task ") + int(few.splitlines()[-1].split()[0])
        assert shown == 101, "all are counted"
        for task in made:
            task.cancel()

    async def settle_all() -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        return describe_tasks(asyncio.get_running_loop())

    run(main())


def test_a_loop_without_tasks() -> None:
    loop = asyncio.new_event_loop()
    assert describe_tasks(loop) == ""
    loop.close()


@pytest.mark.for_python(sys.version_info >= (3, 12))  # tasks begin at once
def test_a_task_that_has_begun_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        make: Any = asyncio.Task  # the types are those of an older Python
        task = make(outer(asyncio.Event()), loop=loop, name="eager", eager_start=True)
        assert 'Task "eager" (most recent call first):\n  waits for Future\n' in describe_tasks(loop)
        task.cancel()

    run(main())
