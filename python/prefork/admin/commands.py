"""What each command does (manager).

A command checks its arguments, begins what it is for, and returns when that is done: what happened, in a few
words, and the same for programs. It raises Misuse for wrong arguments, and Failure for what is not done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from prefork.admin.messages import Failure, Misuse
from prefork.admin.running import Outcome, Running
from prefork.config.checked import EXTERNAL
from prefork.pool.overview import Overview
from prefork.pool.policy import State

Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """`changes` is whether the log has a line for it."""

    function: Callable[[Running, Arguments], Awaitable[Outcome]]
    changes: bool = True


def check_names(arguments: Arguments, *known: str) -> None:
    """Raises Misuse for an argument of another name."""
    for name in arguments:
        if name not in known:
            raise Misuse(f"expected the arguments {', '.join(known) or '(none)'}, got {name[:40]!r}")


# --- size ------------------------------------------------------------------------------------------------

LIMITS = ("min_spare", "max_spare", "max_clients")


async def scale(running: Running, arguments: Arguments) -> Outcome:
    """Changes the limits of the pool, and waits until it has its new size."""
    check_names(arguments, *LIMITS, "workers")
    given = dict(arguments)
    if (workers := given.pop("workers", None)) is not None:
        given = dict.fromkeys(LIMITS, workers) | given
    if not given:
        raise Misuse(f"expected one of {', '.join(LIMITS)}, workers")
    running.server.scale(**{EXTERNAL[name].name: value for name, value in given.items()})
    limits = running.pool.limits
    text = f"min_spare {limits.fewest}, max_spare {limits.most}, max_clients {limits.max_clients}"
    result = {"min_spare": limits.fewest, "max_spare": limits.most, "max_clients": limits.max_clients}
    if not running.pool.keeps:
        return f"{text}; the pool has no workers now, by `prefork drain`", result | {"reached": False}
    reached = await running.wait(_misfit, "added or retired")
    pool = running.pool
    shape = f"{pool.live} workers, {pool.count(State.SPARE)} of them spare"
    if not reached:
        shape += f"; {_misfit(pool)} more are added or retired, when those that are too many are idle"
    return f"{text}: {shape}", result | {
        "workers": pool.live,
        "spare": pool.count(State.SPARE),
        "reached": reached,
    }


def _misfit(pool: Overview) -> int:
    return pool.missing + pool.surplus + pool.forking


# --- the end ---------------------------------------------------------------------------------------------


async def stop(running: Running, arguments: Arguments) -> Outcome:
    """Stops the server as SIGTERM does, or as SIGQUIT. The response is sent when the pool has ended."""
    check_names(arguments, "now")
    now = arguments.get("now", False)
    if not isinstance(now, bool):
        raise Misuse("now: expected true or false")
    workers = running.pool.live
    running.at_end = f"stopped, {workers} workers have ended", {"workers": workers}
    running.server.stop(now=now)
    if not await running.wait(_in_use, "ended", spawns=False):
        raise Failure(f"begun, and it goes on: {_in_use(running.pool)} workers finish their requests")
    return running.at_end  # the pool ends in this moment


def _in_use(pool: Overview) -> int:
    return len(pool.slots)


COMMANDS: dict[str, Command] = {
    "scale": Command(scale),
    "stop": Command(stop),
}
