"""`prefork why PID`: what a worker does at this moment, from the scoreboard and from what the system tells.

Neither its Python nor its manager has to respond. Always: the pid comes from the scoreboard, where a worker
may have written any number; so the system is asked only about a child of the manager.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefork.errors import OptionError
from prefork.logs.escaping import escape_line
from prefork.pool.waits import Wait, parent_of, threads_of, wait_of
from prefork.status import look
from prefork.status.table import amount, busy, duration, request

STUCK_S = 1.0
"""A main thread that is so long in one call, and does not wait for events, is stuck as far as others see."""

ALIEN = Wait("unknown", "its pid is that of no child of the manager: the system is not asked about it")


def examine(glue: str, pid: int) -> dict[str, Any]:
    """What a worker of a pool does, ready for JSON.

    Raises OptionError if the pool has no such worker, ScoreboardUnavailable if it is not running.
    """
    report = look(glue)
    workers = report["workers"]
    worker = next((one for one in workers if one["pid"] == pid), None)
    if worker is None:
        pids = ", ".join(str(one["pid"]) for one in workers) or "none"
        raise OptionError(f"{pid} is no worker of the pool {glue}; its workers: {pids}")
    is_child = parent_of(pid) == report["manager"]["pid"]
    wait = wait_of(pid) if is_child else ALIEN
    return {
        "glue": glue,
        "manager": report["manager"]["pid"],
        "worker": worker,
        "main_thread": wait._asdict(),
        "other_threads": threads_of(pid) if is_child else {},
        "is_stuck": _is_stuck(worker, wait),
    }


def _is_stuck(worker: Mapping[str, Any], wait: Wait) -> bool:
    """Whether a request waits for Python that does not return."""
    if worker["state"] == "stuck" or wait.kind == "stopped":
        return True
    return bool(worker["in_flight"]) and worker["since_turn_s"] >= STUCK_S and wait.kind != "idle"


def has_stacks(found: Mapping[str, Any]) -> bool:
    """Whether it can write its stacks."""
    return found["main_thread"]["kind"] not in ("stopped", "ended")


def describe(found: Mapping[str, Any]) -> list[str]:
    """The same in sentences."""
    worker, wait = found["worker"], found["main_thread"]
    state = worker["state"]
    if found["is_stuck"] and state != "stuck":
        state += f", in one call for {duration(worker['since_turn_s'])}"
    figures = [
        f"up {duration(worker['age_s'])}",
        f"{worker['requests']:,} requests",
        f"busy {busy(worker)}",
        f"{worker['connections']} connections open",
    ]
    if worker["cpu_s"] is not None:
        figures.append(f"CPU {duration(worker['cpu_s'])}")
    if worker["rss"] is not None:
        figures.append(amount(worker["rss"]))
    if worker["waiting"]:
        figures.append(f"{worker['waiting']:,} requests wait for it")
    lines = [
        f"worker {worker['pid']} of the pool {found['glue']}, slot {worker['slot']}, generation "
        f"{worker['generation']}: {state}",
        ", ".join(figures),
        f"request: {_request(worker)}",
        f"main thread: {wait['text']}",
    ]
    for text, count in found["other_threads"].items():
        lines.append(f"{'another thread' if count == 1 else f'{count} other threads'}: {text}")
    return [escape_line(line) for line in lines]


def _request(worker: Mapping[str, Any]) -> str:
    """What is in flight, with its client and its phase."""
    now = worker["request"]
    said = request(worker) or "none in flight"
    if now is None:
        return said
    if now["client"]:
        said += f"; from {now['client']}"
    return f"{said}; {now['phase']}" if now["phase"] else said
