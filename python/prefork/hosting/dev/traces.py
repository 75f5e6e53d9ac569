"""What is shown of an exception: its parts, with the lines of code around each step (plain data).

A part is an exception with its own traceback; one that was raised from another has that before it. Always:
what no longer exists, or cannot be shown, is left out; nothing here raises.
"""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from traceback import FrameSummary, TracebackException, walk_tb

from prefork.hosting.target import OURS
from prefork.logs.escaping import show

AROUND = 5
"""Lines of code before and after the one that runs."""

MOST_STEPS = 100
"""Of a traceback: a recursion that does not end has a thousand, all alike."""

LONGEST_LOCAL = 500
"""Characters of a value."""

LIBRARY = tuple({os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "purelib")})

CAUSED = "The above exception was the direct cause of this one:"
DURING = "During handling of the above exception, another one occurred:"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of code. `is_here`: the one that runs."""

    number: int
    text: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A call that had not returned. `is_own`: its code is the user's."""

    file: str
    number: int
    name: str
    is_own: bool
    lines: list[Line] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """An exception. `link` is how it follows from the one before; empty for the first."""

    kind: str
    text: str
    """All that Python prints of the exception itself: of a SyntaxError with its line."""
    link: str
    steps: list[Step]


def parts_of(error: BaseException, *, shows_values: bool) -> list[Part]:
    """The exception last, behind those that it follows from."""
    linecache.checkcache()
    found: list[Part] = []
    seen: set[int] = set()
    follows: BaseException | None = error
    while follows is not None and id(follows) not in seen:
        seen.add(id(follows))
        before, link = _before(follows)
        found.append(_part(follows, link, shows_values=shows_values))
        follows = before
    return found[::-1]


def text_of(error: BaseException) -> str:
    """What Python prints of an exception, without the steps that are this package's."""
    whole = TracebackException.from_exception(error, compact=True)
    trace: TracebackException | None = whole
    while trace is not None:
        trace.stack[:] = [step for step in trace.stack if not step.filename.startswith(OURS)]
        trace = trace.__cause__ or trace.__context__
    return "".join(whole.format())


def _before(error: BaseException) -> tuple[BaseException | None, str]:
    """What an exception follows from, and how."""
    if error.__cause__ is not None:
        return error.__cause__, CAUSED
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, DURING
    return None, ""


def _part(error: BaseException, link: str, *, shows_values: bool) -> Part:
    trace = TracebackException.from_exception(error, compact=True)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    calls = [
        (summary, frame.f_locals if shows_values else {})
        for summary, frame in zip(trace.stack, frames, strict=False)
        if not summary.filename.startswith(OURS)
    ]
    if len(calls) > MOST_STEPS:
        calls = [*calls[: MOST_STEPS // 2], *calls[-MOST_STEPS // 2 :]]
    text = "".join(trace.format_exception_only()).strip()
    for inner in trace.exceptions or ():
        text += "\n\n" + "".join(inner.format()).strip()
    return Part(type(error).__name__, text, link, [_step(summary, values) for summary, values in calls])


def _step(call: FrameSummary, values: Mapping[str, object]) -> Step:
    number = call.lineno or 0
    lines = [
        Line(one, text.rstrip("\n"), one == number)
        for one in range(max(number - AROUND, 1), number + AROUND + 1)
        if (text := linecache.getline(call.filename, one))
    ]
    shown = {name: _shown(value) for name, value in values.items() if not name.startswith("__")}
    return Step(call.filename, number, call.name, is_own(call.filename), lines, shown)


def _shown(value: object) -> str:
    text = show(value, repr)
    return text if len(text) <= LONGEST_LOCAL else f"{text[:LONGEST_LOCAL]}..."


def is_own(file: str) -> bool:
    """Whether a file is the user's, and none of Python or a package that is installed."""
    path = os.path.realpath(file)
    return os.path.isfile(path) and not path.startswith(LIBRARY) and "/site-packages/" not in path
