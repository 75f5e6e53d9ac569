"""From the TARGET of `prefork serve`, `file.py[:name]` or `module[:name]`, to a kernel and its servers.

Always: a target that cannot be served raises TargetError with one line, naming file and line where there is
one. If the user's own code raised, that exception is its `__cause__`, its traceback beginning in their file.

A target that runs its kernel itself, as a script does, is loaded up to that line: the caller configures the
server and runs the kernel instead.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import NamedTuple

from prefork.config.checked import did_you_mean
from prefork.config.options import AppOptions
from prefork.errors import PreforkError, TargetError
from prefork.hosting.application import call_factory, host
from prefork.hosting.interface import ARGUMENTS, accepts, is_application
from prefork.kernel.kernel import Kernel
from prefork.pool.server import PreForkServer
from prefork.pool.spawner import NotMolded
from prefork.server.server import HTTPServer

FILE = "__target__"
"""The module name of a file. No import finds it, so a file may be called logging.py."""

DEFAULTS = AppOptions()

NAMES = ("app", "application")
"""The names of an application that are tried if none was given."""

FACTORY = re.compile("(create|make|build|get)_.*app|factory|app_factory")
"""Names of functions that make an application."""

MAX_OFFERS = 3

OURS = (
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    os.path.dirname(importlib.__file__) + os.sep,
    "<frozen importlib",
)
"""Files whose frames in a traceback are not the user's code."""


class Target(NamedTuple):
    """The kernel to run, and the servers that options may configure."""

    kernel: Kernel
    servers: list[HTTPServer]


class _RunsItself(BaseException):
    """Ends the loading of a target at its `kernel.run()`. No Exception: no `except` there may stop it."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel


def load(target: str, options: AppOptions = DEFAULTS) -> Target:
    """Loads the target and finds what it serves. Raises TargetError."""
    return target_of(find(target), options, target)


def find(target: str) -> object:
    """What the target names, or its module has to serve. Raises TargetError."""
    place, name = split(target)
    add_to_path(place)
    module, running = _import(place)
    return _find(module, name, place) if name else running or _find_only(module, place)


def split(target: str) -> tuple[str, str]:
    """The place of a target's module, and the name in it; an empty one if none is given."""
    place, _, name = target.rpartition(":")
    return (place, name) if place else (target, "")


def application_of(found: object, options: AppOptions, place: str) -> object:
    """What the target has to serve. Raises NotMolded for a program of its own, and TargetError."""
    if options.factory:
        with _explained(place):
            found = call_factory(found, place)
    if isinstance(found, Kernel | HTTPServer):
        raise NotMolded(
            f"{place} is of type {type(found).__name__}: a restart with --interface events serves it"
        )
    return found


def target_of(found: object, options: AppOptions, place: str) -> Target:
    """The target that serves `found`: an application, a server or a Kernel. Raises TargetError."""
    if options.factory:
        with _explained(place):
            found = call_factory(found, place)
        place = f"{place}()"
    if isinstance(found, Kernel):
        kernel = found
    elif isinstance(found, HTTPServer):
        kernel = found.kernel
    else:
        kernel = Kernel()
        host(PreForkServer(kernel), found, options, place)
        return Target(kernel, _servers(kernel))
    if options.interface in ARGUMENTS:
        kind = type(found).__name__
        raise TargetError(
            f"{place} is of type {kind}; --interface {options.interface} expects an application"
        )
    if not _servers(kernel):
        raise TargetError(f"{place}: its kernel has no HTTPServer to serve")
    return Target(kernel, [found] if isinstance(found, HTTPServer) else _servers(kernel))


def _servers(kernel: Kernel) -> list[HTTPServer]:
    return [session for session in kernel.sessions if isinstance(session, HTTPServer)]


# From a place to a module


def add_to_path(place: str) -> None:
    """Has imports find what stands beside the target, and what stands beside its package."""
    directories = [os.getcwd()]
    if _is_file(place):
        path = os.path.abspath(place)
        directories = [os.path.dirname(path), _in_package(path)[0]]
    for directory in directories:
        if directory not in sys.path[: len(directories)]:
            sys.path.insert(0, directory)


def directory_of(target: str) -> str | None:
    """The directory of a target that is a file, or of its outermost package; None for a module."""
    place, _ = split(target)
    return _in_package(os.path.abspath(place))[0] if _is_file(place) else None


def source_of(place: str) -> bytes | None:
    """The source of the target's module; None if it is not found without an import."""
    path: str | None = place
    if not _is_file(place):
        directories = path = None
        for end in range(1, place.count(".") + 2):
            name = ".".join(place.split(".")[:end])
            spec = importlib.machinery.PathFinder.find_spec(name, directories)
            if spec is None:
                return None
            directories, path = spec.submodule_search_locations, spec.origin
    if path is not None:
        with contextlib.suppress(OSError):
            return Path(path).read_bytes()
    return None


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place


def _import(place: str) -> tuple[ModuleType, Kernel | None]:
    """The module, and the kernel that it was about to run."""
    try:
        with _explained(place), _stopped_at_run():
            return (_import_file if _is_file(place) else _import_module)(place), None
    except _RunsItself as run:
        # An import that does not end leaves no module; its functions keep what they need of it.
        return sys.modules.get(FILE, ModuleType(place)), run.kernel


def _import_file(path: str) -> ModuleType:
    try:
        open(path, "rb").close()
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}") from None
    spec = importlib.util.spec_from_file_location(FILE, os.path.abspath(path))
    if spec is None or spec.loader is None:
        raise TargetError(f"{path}: expected a Python file, *.py")
    root, name = _in_package(os.path.abspath(path))
    if root != os.path.dirname(os.path.abspath(path)):
        return importlib.import_module(name)
    module = sys.modules[FILE] = importlib.util.module_from_spec(spec)
    # An import of it, by a hook or by what it imports itself, finds this module and makes no second one.
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module


def _in_package(path: str) -> tuple[str, str]:
    """The directory of a file's outermost package, and the file's module name from there."""
    directory, name = os.path.split(path.removesuffix(".py"))
    while os.path.isfile(os.path.join(directory, "__init__.py")):
        directory, package = os.path.split(directory)
        name = f"{package}.{name}"
    return directory, name.removesuffix(".__init__")


def _import_module(name: str) -> ModuleType:
    try:
        if all(map(str.isidentifier, name.split("."))):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, and imports one that does not
    parent, _, last = name.rpartition(".")
    hint = "; --chdir sets the directory to look in"
    if hasattr(sys.modules.get(parent), last):
        hint = f"; did you mean {parent}:{last}?"
    raise TargetError(f"there is no module {name!r}; expected file.py or module, with :name or without{hint}")


@contextlib.contextmanager
def _stopped_at_run() -> Iterator[None]:
    """Ends the loading at `kernel.run()`."""

    def stop(kernel: Kernel) -> None:
        raise _RunsItself(kernel)

    run = Kernel.run
    Kernel.run = stop  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Kernel.run = run  # type: ignore[method-assign]


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turns every exception into a TargetError. Only one of the user's own code keeps its traceback."""
    from prefork.hosting import other_server  # here, not in the memory of every worker

    try:
        with other_server.refused(place):
            yield
    except SyntaxError as error:
        raise TargetError(f"{error.filename or place}:{error.lineno or 1}: {error.msg}") from None
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and _is_ours(trace.tb_frame):
            trace = trace.tb_next
        theirs = [(frame, line) for frame, line in traceback.walk_tb(trace) if not _is_ours(frame)]
        if not theirs:
            raise TargetError(str(error) if isinstance(error, TargetError) else f"{place}: {error}") from None
        frame, line = theirs[-1]
        if isinstance(error, PreforkError):
            raise TargetError(f"{frame.f_code.co_filename}:{line}: {error}") from None
        raise TargetError(f"{place} could not be loaded") from error.with_traceback(trace)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)


# From a module to what it serves


def _find(module: ModuleType, name: str, place: str) -> object:
    """The object of that name in a module; a dotted name is followed."""
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            hint = _hint(module, name, place) or _suggestion(found, part, place)
            raise TargetError(f"{place} has no {name!r}{hint}")
        found = getattr(found, part)
    return found


def _hint(module: ModuleType, name: str, place: str) -> str:
    """What a name that the module does not have may have meant, or nothing."""
    if name.endswith("()"):
        return f"; use {place}:{name[:-2]} --factory"
    first, _, rest = name.partition(".")
    if hasattr(module, "__path__") and not hasattr(module, first):
        deeper = f"{module.__name__}.{first}"
        if first.isidentifier() and importlib.util.find_spec(deeper):
            return f"; did you mean {deeper}{rest and ':'}{rest}?"
    return ""


def _suggestion(found: object, part: str, place: str) -> str:
    """What there is instead of a name that is missing."""
    offers = dict(_offers(found, place)) if isinstance(found, ModuleType) else {}
    if not offers:
        return did_you_mean(part, (name for name in dir(found) if name[0] != "_"))
    import difflib  # here, not in the memory of every worker

    close = difflib.get_close_matches(part, offers, n=1) or [*offers][:MAX_OFFERS]
    return _choice([offers[name] for name in close])


def _offers(module: ModuleType, place: str) -> Iterator[tuple[str, str]]:
    """What of a module could be served: its name, and the target with the flag that it needs."""
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        is_target = isinstance(value, Kernel | HTTPServer) or is_application(value, module.__name__)
        if is_target or (name in NAMES and callable(value)):
            yield name, f"{place}:{name}"
        elif inspect.isfunction(value) and FACTORY.match(name) and accepts(value, ()):
            yield name, f"{place}:{name} --factory"


def _choice(targets: list[str]) -> str:
    if not targets:
        return ""
    *others, last = targets
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def _find_only(module: ModuleType, place: str) -> object:
    """What a module has to serve, if no name was given."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Kernel | HTTPServer)}
    kernels = {value if isinstance(value, Kernel) else value.kernel for value in found.values()}
    if not found:
        for name in NAMES:
            if hasattr(module, name):
                return getattr(module, name)
        raise TargetError(
            f"{place} has nothing to serve at its top level; expected an application called app or "
            "application, or a PreForkServer, an HTTPServer or a Kernel"
            + _choice([target for _, target in _offers(module, place)][:MAX_OFFERS])
        )
    if len(kernels) > 1:
        names = ", ".join(sorted(found))
        raise TargetError(f"{place} has several kernels ({names}): name one, as in {place}:{min(found)}")
    return kernels.pop()
