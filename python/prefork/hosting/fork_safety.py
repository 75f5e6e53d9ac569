"""What an application has opened in a mold that must not be forked, and which module holds it.

All workers would share it: the position in a file, the other end of a connection, an epoll set. It is found
after the load, by comparison with what the process had before. The way from a descriptor to a module goes
through the objects that refer to it, and is only looked for if there is such a descriptor: nothing is watched
while the application is loaded, or afterwards.

Always: what is named is a warning. Nothing is closed or changed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import socket
import sys
import time
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from prefork.kernel.live_threads import live_threads, thread_ids
from prefork.logs.module_names import module_of

logger = logging.getLogger("prefork.mold")

SHARED = (
    "every worker would share it: open it in worker_start or in the lifespan, close it in --mold-ready, or "
    "load the application in each worker (--no-preload)"
)
MISSING = (
    "no worker would have it, and what waits for it hangs there: start it in worker_start or in the "
    "lifespan, or load the application in each worker (--no-preload)"
)

NODES = {
    "eventpoll": "an epoll set",
    "io_uring": "an io_uring",
    "eventfd": "an eventfd",
    "inotify": "an inotify",
}
"""What has no name in a file system (anon_inode:[...]), and is shared with all that is in it."""

GPU = re.compile(r"/dev/(?:nvidia|dri/|kfd)")

FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)

DEPTH = 10
"""How many references there may be between a module and a descriptor."""

WIDTH = 5000
"""How many objects are looked at with that many references between them and the descriptor."""

LOOK_S = 1.0
"""The time to look for holders. Each step looks at every object of the process."""

AT_ONCE = 50
"""How many objects a step is about. It compares each reference that there is with each of them, and cannot be
interrupted.
"""

MAX_LINES = 10


class Before(NamedTuple):
    """What a process has before it loads an application."""

    descriptors: frozenset[tuple[int, str]]
    threads: frozenset[int]


def look() -> Before:
    """What this process has now."""
    return Before(frozenset(_descriptors()), thread_ids())


def opened_since(before: Before, ours: Collection[int] = ()) -> list[str]:
    """What has come since then and must not be forked, without the descriptors `ours`: an entry for what one
    object holds.
    """
    found = {fd: what for fd, what in _opened(before.descriptors) if fd not in ours}
    held: dict[str, dict[str, None]] = {}
    for fd, holder in _holders(found).items():
        held.setdefault(holder, {})[found.pop(fd)] = None
    lines = [f"{', '.join(things)} of {holder}" for holder, things in held.items()]
    return [*lines, *dict.fromkeys(found.values()), *_mapped_gpu()]


def warn_of_unsafe(before: Before, *, threads: bool = True) -> None:
    """Mold: names what has come since then and must not be forked: a line for what one object holds."""
    lines = opened_since(before)
    for what in lines[:MAX_LINES]:
        logger.warning("the mold has %s; %s", what, SHARED)
    if len(lines) > MAX_LINES:
        logger.warning("the mold has %d more such things open", len(lines) - MAX_LINES)
    if threads:
        for thread in live_threads(before.threads):
            logger.warning("the mold has %s; %s", thread, MISSING)


# --- what there is ---------------------------------------------------------------------------------------


def _descriptors() -> Iterator[tuple[int, str]]:
    """Each descriptor, and what it is open for (proc(5), /proc/pid/fd)."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the list itself
            yield int(name), os.readlink(f"/proc/self/fd/{name}")


def _opened(former: Collection[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The descriptors that must not be forked, with a description."""
    for fd, link in _descriptors():
        if (fd, link) in former:
            continue
        with contextlib.suppress(OSError):
            if what := describe(fd, link):
                yield fd, what


def describe(fd: int, link: str) -> str:
    """What a descriptor is, if it must not be forked; otherwise empty. Raises OSError if it is closed."""
    if node := re.fullmatch(r"anon_inode:\[(\w+)\]", link):
        return NODES.get(node[1], "")
    if link.startswith("socket:"):
        return _describe_socket(fd)
    if found := GPU.match(link):
        return f"a GPU ({found[0]})"
    if link.startswith("/") and not link.startswith(("/dev/", "/memfd:")) and _moves_when_written(fd):
        return f"the file {link}, open for writing,"
    return ""


def _describe_socket(fd: int) -> str:
    """Datagrams are whole, whichever process sends them, as a log's."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        if sock.family not in FAMILIES or sock.type == socket.SOCK_DGRAM:
            return ""
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return f"a socket that listens at {_address(sock.getsockname())}"
        try:
            peer = sock.getpeername()
        except OSError:
            return "a socket that is not connected"
        return f"a connection to {_address(peer)}" if peer else "one of a pair of sockets"


def _address(name: Any) -> str:
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return name if isinstance(name, str) else f"@{name[1:].decode(errors='replace')}"


def _moves_when_written(fd: int) -> bool:
    """Whether it is open for writing from a position that processes would share. A log is appended to."""
    flags = re.search(r"^flags:\s*([0-7]+)$", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.MULTILINE)
    bits = int(flags[1], 8) if flags else 0
    return bits & os.O_ACCMODE != os.O_RDONLY and not bits & os.O_APPEND


def _mapped_gpu() -> set[str]:
    return {f"a GPU ({found})" for found in GPU.findall(Path("/proc/self/maps").read_text())}


# --- which module holds it -------------------------------------------------------------------------------


def _holders(descriptors: Collection[int]) -> dict[int, str]:
    """The module of the application that holds each descriptor, with the name there, as far as found."""
    if not descriptors:
        return {}
    until = time.monotonic() + LOOK_S
    tracked = gc.get_objects()
    found = _found_among(tracked, descriptors)
    if missing := set(descriptors) - found.keys():
        found |= _found_among(_untracked(tracked, until), missing)
    del tracked  # it refers to everything
    modules = {
        id(vars(module)): name for name, module in list(sys.modules.items()) if hasattr(module, "__dict__")
    }
    holders = {
        fd: _path_from_module(objects, modules, until) or _kind_of(objects) for fd, objects in found.items()
    }
    return {fd: holder for fd, holder in holders.items() if holder}


def _found_among(objects: Iterable[object], descriptors: Collection[int]) -> dict[int, list[object]]:
    found: dict[int, list[object]] = {}
    for one in objects:
        number = _number_of(one)
        if number in descriptors:
            found.setdefault(number, []).append(one)
    return found


def _untracked(tracked: list[object], until: float) -> Iterator[object]:
    """What refers to nothing, and is therefore unknown to the garbage collector, such as `select.epoll`.
    Returns what it finds by the time `until`.

    Modules are not asked: their names are in dicts, and `_asyncio` of CPython 3.12 would tell of its free
    list. Objects that are dead would be freed a second time.
    """
    seen: set[int] = set()
    for number, one in enumerate(tracked):
        if number % 1024 == 0 and time.monotonic() > until:
            return
        if issubclass(type(one), types.ModuleType):  # `isinstance` runs code of proxies
            continue
        for other in gc.get_referents(one):
            if not gc.is_tracked(other) and id(other) not in seen and hasattr(type(other), "fileno"):
                seen.add(id(other))
                yield other


def _number_of(one: object) -> int:
    """The descriptor that an object stands for; -1 if it stands for none."""
    try:
        if isinstance(one, type) or not hasattr(type(one), "fileno"):
            return -1
        number = one.fileno()  # type: ignore[attr-defined]
    except Exception:  # closed, or no descriptor at all
        return -1
    return number if isinstance(number, int) else -1


def _path_from_module(objects: list[object], modules: Mapping[int, str], until: float) -> str:
    """Goes from what refers to these objects to what refers to that, and so on, to a module of the
    application. Returns what it finds by the time `until`.
    """
    level: list[Any] = list(objects)
    seen = {id(one) for one in level}
    for _ in range(DEPTH):
        here = {id(one) for one in level}
        referrers = [one for one in _referrers(level, until) if id(one) not in seen]
        for one in referrers:
            name = modules.get(id(one), "")
            if name and _is_of_application(name):
                return _named(name, one, here)
        level = [one for one in referrers if not _leads_astray(one, objects, modules)][:WIDTH]
        del referrers  # it refers to all of them
        seen.update(map(id, level))
        if not level or time.monotonic() > until:
            break
    return ""


def _referrers(level: list[Any], until: float) -> list[Any]:
    """What refers to one of these objects, as far as it is found by the time `until`."""
    found: dict[int, Any] = {}
    for begin in range(0, len(level), AT_ONCE):
        part = level[begin : begin + AT_ONCE]
        own = {id(level), id(part), id(found)}
        found.update({id(one): one for one in gc.get_referrers(*part) if id(one) not in own})
        if time.monotonic() > until:
            break
    return list(found.values())


def _leads_astray(one: object, objects: list[object], modules: Mapping[int, str]) -> bool:
    """Whether it refers to the objects only because they are looked for, or to everything."""
    return isinstance(one, types.FrameType) or one is objects or id(one) in modules or one is modules


def _named(module: str, names: Mapping[str, object], held: Collection[int]) -> str:
    return next((f"{module}.{name}" for name, value in list(names.items()) if id(value) in held), module)


def _is_of_application(module: str) -> bool:
    top = module.partition(".")[0]
    return top != "prefork" and top not in sys.stdlib_module_names


def _kind_of(objects: Iterable[object]) -> str:
    """The class of such an object, if it is no library class of Python."""
    kinds = (type(one) for one in objects)
    return next(
        (f"{module_of(kind)}.{kind.__qualname__}" for kind in kinds if _is_of_application(kind.__module__)),
        "",
    )
