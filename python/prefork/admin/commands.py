"""What each command does (manager).

A command checks its arguments, begins what it is for, and returns when that is done: what happened, in a few
words, and the same for programs. It raises Misuse for wrong arguments, and Failure for what is not done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from prefork.admin.messages import Failure, Misuse
from prefork.admin.running import Outcome, Running
from prefork.config.checked import EXTERNAL
from prefork.errors import NotUpgraded
from prefork.logs.module_names import module_of
from prefork.pool import overview
from prefork.pool import upgrade as upgrades
from prefork.pool.log_level import LEVELS
from prefork.pool.overview import Overview
from prefork.pool.policy import State
from prefork.pool.reload import End
from prefork.pool.stacks import END, tasks_in, threads_in
from prefork.server.handlers import Handlers

if TYPE_CHECKING:
    from prefork.pool.server import PreForkServer

Arguments: TypeAlias = Mapping[str, Any]

TASKS_S = 1.0
"""How long the main thread of a worker may take to show its tasks."""


@dataclass(frozen=True, slots=True)
class Command:
    """`changes(arguments)` is whether the log has a line for it."""

    function: Callable[[Running, Arguments], Awaitable[Outcome]]
    changes: Callable[[Arguments], bool] = lambda _: True


def check_names(arguments: Arguments, *known: str) -> None:
    """Raises Misuse for an argument of another name."""
    for name in arguments:
        if name not in known:
            raise Misuse(f"expected the arguments {', '.join(known) or '(none)'}, got {name[:40]!r}")


def flag(arguments: Arguments, name: str) -> bool:
    """An argument that is true or false, and false if it is not given. Raises Misuse."""
    value = arguments.get(name, False)
    if not isinstance(value, bool):
        raise Misuse(f"{name}: expected true or false")
    return value


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


# --- replacing workers -----------------------------------------------------------------------------------


async def recycle(running: Running, arguments: Arguments) -> Outcome:
    """Replaces workers, each when another one is ready."""
    check_names(arguments, "pids", "all")
    every, pids = flag(arguments, "all"), arguments.get("pids", [])
    if not isinstance(pids, list) or any(type(pid) is not int for pid in pids) or bool(pids) == every:
        raise Misuse("expected pids, which are the numbers of workers, or all")
    pool = running.pool
    if unknown := set(pids) - set(pool.pids.values()):
        workers = ", ".join(map(str, sorted(pool.live_pids))) or "none"
        raise Misuse(f"{min(unknown)} is no worker of this pool; its workers: {workers}")
    if not pool.keeps:
        raise Failure(f"nothing to replace: {pool.phase}")
    former = pool.live_pids if every else pool.live_pids.intersection(pids)
    running.manager.recycle(former)
    count = await _replaced(running, former)
    return f"{count} workers replaced", {"replaced": count}


async def reload(running: Running, arguments: Arguments) -> Outcome:
    """Does what SIGHUP does."""
    check_names(arguments)
    pool = running.pool
    if why := running.server.why_no_reload:
        raise Failure(f"nothing to reload: {why}")
    ends: list[End] = []
    if not running.server.reload(ends.append):
        return f"no worker to replace: {pool.phase}{_certificates(running)}", {"replaced": 0}
    former = pool.live_pids

    def left(pool: Overview) -> int:
        return 0 if ends else max(1, len(pool.live_pids & former))

    if not await running.wait(left, "replaced", spawns=False, stage=lambda: running.manager.reload_stage):
        raise Failure(
            f"begun, and it goes on: {left(running.pool)} of {len(former)} workers are not replaced"
        )
    (end,) = ends
    if end.failure:
        raise Failure(f"{end.failure}; generation {end.generation} serves on")
    text = f"every worker is of generation {end.generation}{_certificates(running)}"
    return text, {"replaced": len(former), "generation": end.generation}


def _certificates(running: Running) -> str:
    """What has become of them. Raises Failure if they cannot be used."""
    certificates = running.server.certificates
    if certificates is None:
        return ""
    if certificates.trouble:
        generation = f"generation {running.pool.limits.generation} serves, and the former certificates stay"
        raise Failure(f"the certificates cannot be used: {certificates.trouble}; {generation}")
    return "; certificates read again"


async def upgrade(running: Running, arguments: Arguments) -> Outcome:
    """Does what SIGUSR2 does."""
    check_names(arguments)
    ends: list[upgrades.End] = []

    def ended(end: upgrades.End) -> None:
        ends.append(end)
        if not end.failure:  # the pool may end in this moment
            running.at_end = _upgraded(end, workers)

    workers = running.pool.live
    try:
        running.server.upgrade(ended)
    except NotUpgraded as error:
        raise Failure(str(error)) from None
    if not await running.wait(lambda _: 0 if ends else 1, "of the new manager ready", spawns=False):
        raise Failure("begun, and it goes on: the new manager is not ready yet")
    (end,) = ends
    if end.failure:
        raise Failure(f"{end.failure}; the manager {end.pid} serves on")
    return _upgraded(end, workers)


def _upgraded(end: upgrades.End, workers: int) -> Outcome:
    text = f"manager {end.pid} has taken over, and {workers} workers of the former one finish"
    if end.stays:
        text += f"; open connections do not move, because {end.stays}"
    return text, {"manager": end.pid, "replaced": workers, "stays": end.stays}


async def _replaced(running: Running, pids: Collection[int]) -> int:
    """Waits until none of these workers takes requests. Returns how many there were."""
    if not await running.wait(lambda pool: len(pool.live_pids.intersection(pids)), "replaced"):
        left = len(running.pool.live_pids.intersection(pids))
        raise Failure(f"begun, and it goes on: {left} of {len(pids)} workers are not replaced yet")
    return len(pids)


# --- accepting -------------------------------------------------------------------------------------------


async def drain(running: Running, arguments: Arguments) -> Outcome:
    """Closes the listener, when load balancers know, and lets the workers finish and end."""
    check_names(arguments)
    for tell in running.manager.before_drain:
        await tell(running.left_s)
    workers = _in_use(running.pool)
    running.server.stop_listen()
    if not await running.wait(lambda pool: _in_use(_drained(pool, running)), "ended", spawns=False):
        raise Failure(f"begun, and it goes on: {_in_use(running.pool)} workers finish their requests")
    text = f"{workers} workers have ended; no client is accepted until `prefork resume`"
    return text, {"workers": workers}


def _drained(pool: Overview, running: Running) -> Overview:
    """The pool. Raises Failure if it has workers again, before the last one has ended."""
    if running.server.listening is not None:
        raise Failure("given up, because the server listens again")
    return pool


async def resume(running: Running, arguments: Arguments) -> Outcome:
    """Opens the listener again, and spawns workers."""
    check_names(arguments)
    server = running.server
    if running.server.is_stopping:
        raise Failure("the server is stopping")
    if server.listening is None and not server.start_listen():
        raise Failure(
            "it cannot listen again yet: an address is in use (the log says which); it is tried again for "
            f"{server.options.max_retries} s"
        )
    if not await running.wait(lambda pool: pool.missing, "started"):
        raise Failure(f"begun, and it goes on: {running.pool.missing} spares are missing")
    spare = running.pool.count(State.SPARE)
    return f"listening on {server.url}, {spare} workers spare", {"url": server.url, "spare": spare}


# --- the end ---------------------------------------------------------------------------------------------


async def stop(running: Running, arguments: Arguments) -> Outcome:
    """Stops the server as SIGTERM does, or as SIGQUIT. The response is sent when the pool has ended."""
    check_names(arguments, "now")
    now = flag(arguments, "now")
    workers = _in_use(running.pool)
    running.at_end = f"stopped, {workers} workers have ended", {"workers": workers}
    running.server.stop(now=now)
    if not await running.wait(_in_use, "ended", spawns=False):
        raise Failure(f"begun, and it goes on: {_in_use(running.pool)} workers finish their requests")
    return running.at_end  # the pool ends in this moment


def _in_use(pool: Overview) -> int:
    return len(pool.slots)


# --- the handlers of a server of events ------------------------------------------------------------------


async def handlers(running: Running, arguments: Arguments) -> Outcome:
    """Shows the handlers, or sets them for new workers and, on request, replaces the workers that run."""
    check_names(arguments, "set", "replace")
    server = _server_of_events(running)
    if (entries := arguments.get("set")) is not None:
        server.set_handlers(entries)
    shown = [{key: _plain(value) for key, value in entry.items()} for entry in server.get_handlers()]
    return await _taken_over(running, arguments, "handlers", shown)


async def fork_handlers(running: Running, arguments: Arguments) -> Outcome:
    """As `handlers`, for the events that new workers call."""
    check_names(arguments, "set", "replace")
    server = _server_of_events(running)
    if (events := arguments.get("set")) is not None:
        server.change_fork_handlers(events)
    shown = {_plain(alias): event for alias, event in server.get_fork_handlers().items()}
    return await _taken_over(running, arguments, "fork handlers", shown)


def _server_of_events(running: Running) -> PreForkServer:
    """Raises Misuse if it serves an application."""
    server = running.server
    if server.application is not None or server.service.kind != Handlers.kind:
        raise Misuse("it has no handlers: it serves an application")
    return server


async def _taken_over(running: Running, arguments: Arguments, what: str, shown: Any) -> Outcome:
    count, pool = len(shown), running.pool
    if arguments.get("set") is None:
        return f"{count} {what}", {"handlers": shown, "replaced": 0}
    replaced = 0
    if flag(arguments, "replace") and pool.keeps:
        running.manager.replace_workers()
        replaced = await _replaced(running, pool.live_pids)
    text = f"{count} {what} set for new workers, {replaced} workers replaced"
    return text, {"handlers": shown, "replaced": replaced}


def _plain(value: object) -> object:
    """A part of a handler as JSON has it: a function by its place, a session by its alias or number."""
    if isinstance(value, str | bool):
        return value
    if callable(value):
        return f"{module_of(value)}:{getattr(value, '__qualname__', '?')}"
    return str(value)


# --- looking at it ---------------------------------------------------------------------------------------


async def explain(running: Running, arguments: Arguments) -> Outcome:
    """Says why the pool has the size that it has, and what it has decided of late."""
    check_names(arguments)
    pool = running.pool
    lines, decisions = overview.explain(pool), running.manager.decisions
    return lines[0], {"lines": lines, "decisions": decisions, **overview.figures(pool)}


async def log_level(running: Running, arguments: Arguments) -> Outcome:
    """Changes the level of the log, in every process of the pool."""
    check_names(arguments, "level")
    level = arguments.get("level")
    if level not in LEVELS:
        raise Misuse(f"level: expected one of {', '.join(LEVELS)}")
    deaf = running.server.set_log_level(level)
    text = f"the log shows {level} and above, in the manager and its workers"
    if deaf:
        text += (
            f"; worker {', '.join(map(str, deaf))} cannot be told, because its program handles signals itself"
        )
    return text, {"level": level, "not_told": deaf}


async def stacks(running: Running, arguments: Arguments) -> Outcome:
    """Has a worker write the stacks of its threads, also while its Python is stuck, and of its tasks."""
    check_names(arguments, "pid")
    pid, pipe = arguments.get("pid"), running.manager.resources.stacks
    if type(pid) is not int or pid not in running.pool.pids.values():
        workers = ", ".join(map(str, sorted(running.pool.pids.values()))) or "none"
        raise Misuse(f"{str(pid)[:20]} is no worker of this pool; its workers: {workers}")
    if pipe.is_reading:
        raise Failure("the stacks of another worker are being written: try again")
    pipe.is_reading = True
    try:
        pipe.read()  # of a command before, which did not wait for all of it
        if not running.manager.ask_for_stacks(pid):
            raise Failure(f"worker {pid} cannot be asked: it ends, or its program handles signals itself")
        text = threads_in(await running.collect(pipe.read, last="Current thread"))
        if not text:
            raise Failure(f"worker {pid} writes nothing: it is stopped, or waits for a disk")
        tasks, why = await _tasks(running, pid)
    finally:
        pipe.is_reading = False
    return f"stacks of worker {pid}", {"pid": pid, "stacks": text, "tasks": tasks, "why_no_tasks": why}


async def _tasks(running: Running, pid: int) -> tuple[str | None, str | None]:
    """The tasks of a worker, or why there are none to show."""
    pipe = running.manager.resources.stacks
    if not running.manager.ask_for_tasks(pid):
        return None, "it ends, or its program handles signals itself"
    tasks = tasks_in(await running.collect(pipe.read, last=END, within_s=TASKS_S), pid)
    if tasks is None:
        return None, "its main thread does not come to run Python: see its stack"
    return tasks, None


COMMANDS: dict[str, Command] = {
    "drain": Command(drain),
    "explain": Command(explain, changes=lambda _: False),
    "fork-handlers": Command(fork_handlers, changes=lambda arguments: "set" in arguments),
    "handlers": Command(handlers, changes=lambda arguments: "set" in arguments),
    "log-level": Command(log_level),
    "recycle": Command(recycle),
    "reload": Command(reload),
    "resume": Command(resume),
    "scale": Command(scale),
    "stacks": Command(stacks, changes=lambda _: False),
    "stop": Command(stop),
    "upgrade": Command(upgrade),
}
