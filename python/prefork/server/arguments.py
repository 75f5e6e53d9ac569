"""What the events of a server take: how many arguments, and of which kinds.

An event is not checked before it runs, because a request may go through it: if it fails, it is looked up here
whether its arguments were the cause. It must know no server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from prefork._engine import Connection, Response
from prefork.errors import WrongArguments
from prefork.kernel.events import Recipient


class Argument(NamedTuple):
    name: str
    kinds: tuple[type, ...]
    is_optional: bool = False


RESPONSE = Argument("response", (Response,))
CONNECTION = Argument("connection", (Connection, int))
SESSION = Argument("session", (str, int, Recipient))
EVENT = Argument("event", (str,))
HANDLERS = Argument("handlers", (Iterable,))
FORK_HANDLERS = Argument("fork_handlers", (object,))
REPLACE = Argument("replace", (object,), is_optional=True)
GRACEFUL = Argument("'GRACEFUL'", (object,), is_optional=True)
ARGS = Argument("*args", (object,), is_optional=True)

TAKES: Mapping[str, tuple[Argument, ...]] = {
    "DONE": (RESPONSE,),
    "CLOSE": (RESPONSE,),
    "STREAM": (RESPONSE,),
    "GETHANDLERS": (SESSION, EVENT),
    "SETHANDLERS": (HANDLERS, REPLACE),
    "SETCLOSEHANDLER": (CONNECTION, SESSION, EVENT._replace(is_optional=True), ARGS),
    "STARTLISTEN": (),
    "STOPLISTEN": (),
    "SHUTDOWN": (GRACEFUL,),
    "ISCHILD": (),
    "GETFORKHANDLERS": (SESSION, EVENT),
    "SETFORKHANDLERS": (FORK_HANDLERS, REPLACE),
    "REGISTER": (SESSION, EVENT),
}


def wrong_arguments(server: Recipient, event: str, args: tuple[Any, ...]) -> WrongArguments | None:
    """The error for arguments that an event of a server does not take; None if they fit."""
    takes = TAKES.get(event)
    if takes is None or _fit(takes, args):
        return None
    needed = ", ".join(f"[{one.name}]" if one.is_optional else one.name for one in takes) or "no arguments"
    got = ", ".join(type(one).__name__ for one in args) or "none"
    return WrongArguments(f"session {server}: event {event} takes {needed}; got {got}")


def check_arguments(server: Recipient, event: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """`args`, if an event that would not fail otherwise takes them. Raises WrongArguments."""
    if (error := wrong_arguments(server, event, args)) is not None:
        raise error
    return args


def _fit(takes: tuple[Argument, ...], args: tuple[Any, ...]) -> bool:
    least = sum(not one.is_optional for one in takes)
    if len(args) < least or (len(args) > len(takes) and ARGS not in takes):
        return False
    return all(
        isinstance(arg, one.kinds) or (one.is_optional and arg is None)
        for one, arg in zip(takes, args, strict=False)
    )
