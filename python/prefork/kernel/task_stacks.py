"""Where the tasks of a loop wait, as text for an operator.

Always: it is limited in size and in time, and each line is one, without control characters. No object of the
application is shown (`repr`). So the text may be made in a handler of a signal, in the middle of other code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import FrameType
from typing import Any

from prefork.logs.escaping import escape_line

MOST_FRAMES = 20_000
"""So many frames of all tasks are looked at: it takes some ten milliseconds."""
MOST_SHOWN = 50
"""So many different stacks are shown: the task that runs, and then those of the most tasks."""
MOST_LINES = 30
"""Of each stack, the innermost ones."""
MOST_NAME = 80
"""The longest name of a task or function, in characters."""
MOST_PATH = 200
MOST_TEXT = 40_000
"""It fits into an empty pipe."""

ORDER = "(most recent call first):"
"""As `faulthandler` has it."""

KINDS = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
"""Of a coroutine, a generator and an asynchronous generator: the frame, and what that waits for."""


def describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """The tasks of `loop` that are not done, with their stacks. Those that wait at the same place are shown
    once. "" if there are none.

    For the thread of the loop.
    """
    running = asyncio.current_task(loop)
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: (task is not running, id(task)))
    at: dict[tuple[str, ...], list[asyncio.Task[Any]]] = {}
    frames = 0
    for task in tasks:
        stack = ("  runs now",) if task is running else _stack(task)
        at.setdefault(stack[:MOST_LINES], []).append(task)
        frames += len(stack)
        if frames > MOST_FRAMES:
            break
    texts: list[str] = []
    left = len(tasks)
    order = sorted(at.items(), key=lambda item: (running not in item[1], -len(item[1])))
    for stack, same in order[:MOST_SHOWN]:
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        text = "\n".join([f"Task {_name(same[0])}{more} {ORDER}", *stack])
        if sum(map(len, texts)) + len(text) > MOST_TEXT:
            break
        texts.append(text)
        left -= len(same)
    return "\n".join([*texts, *([f"{left} more tasks"] if left else [])])


def _stack(task: asyncio.Task[Any]) -> tuple[str, ...]:
    """What a task waits for, and the lines of its coroutines, the innermost first."""
    coroutine = task.get_coro()
    lines = [
        f'  File "{_cut(frame.f_code.co_filename, MOST_PATH)}", line {frame.f_lineno} in '
        f"{_cut(frame.f_code.co_qualname, MOST_NAME)}"
        for frame in _frames(coroutine)
    ]
    if not lines:  # it is written in C
        lines.append(f"  in {_cut(type(coroutine).__qualname__, MOST_NAME)}")
    return (f"  {_awaited(task)}", *reversed(lines))


def _frames(coroutine: object) -> Iterator[FrameType]:
    """The frame of a coroutine, and of each one that it awaits. What is written in C has none."""
    while True:
        for name, awaited in KINDS:
            frame = getattr(coroutine, name, None)
            if isinstance(frame, FrameType):
                yield frame
                coroutine = getattr(coroutine, awaited, None)
                break
        else:
            return


def _awaited(task: asyncio.Task[Any]) -> str:
    waiter = getattr(task, "_fut_waiter", None)
    if waiter is None:
        return "is about to run"
    if isinstance(waiter, asyncio.Task):
        return f"waits for task {_name(waiter)}"
    return f"waits for {_cut(type(waiter).__name__.lstrip('_'), MOST_NAME)}"


def _name(task: asyncio.Task[Any]) -> str:
    return f'"{_cut(task.get_name(), MOST_NAME)}"'


def _cut(text: str, most: int) -> str:
    return escape_line(text[:most])
