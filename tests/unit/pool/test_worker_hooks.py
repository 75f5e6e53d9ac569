"""A hook gets the values that it has parameters for, in whatever way it has them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from prefork.config.options import PreForkOptions
from prefork.pool.worker_hooks import WorkerHooks


def by_name(status: int, pid: int) -> tuple[int, ...]:
    return pid, status


def by_place(pid: int, status: int, /) -> tuple[int, ...]:
    return pid, status


def one_by_place(pid: int, /, **others: int) -> tuple[int, ...]:
    return pid, *others.values()


def any_of_them(**values: int) -> tuple[int, ...]:
    return values["pid"], values["status"]


def with_more(pid: int, path: str = "", *, status: int, mode: int = 0) -> tuple[int, ...]:
    return pid + len(path), status + mode


@pytest.mark.parametrize("function", [by_name, by_place, one_by_place, any_of_them, with_more])
def test_values_are_given_as_the_function_takes_them(function: Callable[..., Any]) -> None:
    seen: list[Any] = []
    hooks = WorkerHooks(PreForkOptions(worker_died=_noting(function, seen)))
    hooks.call("worker_died", pid=7, status=-9)
    assert seen == [(7, -9)]


def _noting(function: Callable[..., Any], seen: list[Any]) -> Callable[..., Any]:
    """The same function, for the signature that `functools.wraps` leaves it."""

    @functools.wraps(function)
    def note(*args: Any, **values: Any) -> None:
        seen.append(function(*args, **values))

    return note
