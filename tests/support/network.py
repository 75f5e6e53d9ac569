"""Tests whose clients do not come from a loopback address: in a network namespace of their own."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec

import pytest

Arguments = ParamSpec("Arguments")

HOSTS = {"ipv4": ("192.0.2.1", "192.0.2.2"), "ipv6": ("2001:db8:0:1::1", "2001:db8:0:2::1")}
"""Addresses that such a network has (RFC 5737, RFC 3849)."""

_CLONE_NEWNET = 0x40000000


def in_own_network(test: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Run a test on a thread that has a network of its own, which its processes inherit.

    Nothing outside of it can be reached, and the names of abstract sockets are its own.
    """

    @functools.wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with ThreadPoolExecutor(1, initializer=_enter) as thread:
            thread.submit(_check).result()
            thread.submit(test, *args, **kwargs).result()

    return run


def _enter() -> None:
    """A thread's namespace is left with the thread, unshare(2)."""
    if os.geteuid() == 0 and shutil.which("ip"):
        ctypes.CDLL(None).unshare(_CLONE_NEWNET)


def _check() -> None:
    if os.geteuid() != 0 or os.readlink("/proc/self/ns/net") == os.readlink("/proc/thread-self/ns/net"):
        pytest.skip("a network namespace needs root and the command ip")
    for command in (
        "link set lo up",
        *(f"addr add {address}/32 dev lo" for address in HOSTS["ipv4"]),
        *(f"addr add {address}/128 dev lo nodad" for address in HOSTS["ipv6"]),
    ):
        subprocess.run(["ip", *command.split()], check=True)
