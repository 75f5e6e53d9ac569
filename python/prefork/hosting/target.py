"""From the TARGET of `prefork serve`, `file.py[:name]` or `module[:name]`, to a kernel and its servers.

Always: a target that cannot be served raises TargetError with one line, naming file and line where there is
one. If the user's own code raised, that exception is its `__cause__`, its traceback beginning in their file.

A target that runs its kernel itself, as a script does, is loaded up to that line: the caller runs the kernel
instead, once the command line has had its say.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import NamedTuple

from prefork.config.options import AppOptions, did_you_mean
from prefork.errors import PreforkError, TargetError
from prefork.hosting.application import call_factory, host
from prefork.hosting.interface import ARGUMENTS
from prefork.kernel.kernel import Kernel
from prefork.pool.server import PreForkServer
from prefork.server.server import HTTPServer

FILE = "__target__"
"""A file's name as a module: none that others import, for a target may well be called logging.py."""

DEFAULTS = AppOptions()

NAMES = ("app", "application")
"""What an application is called where its name was not said."""

OURS = (
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    os.path.dirname(importlib.__file__) + os.sep,
    "<frozen importlib",
)
"""Where the files are whose frames tell the user nothing about their own."""


class Target(NamedTuple):
    """The kernel to run, and the servers the command line may configure."""

    kernel: Kernel
    servers: list[HTTPServer]


class _RunsItself(BaseException):
    """Ends the loading of a target at its `kernel.run()`. No Exception: no `except` there may stop it."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel


def load(target: str, options: AppOptions = DEFAULTS) -> Target:
    """Loads the target and finds what it serves. Raises TargetError."""
    place, _, name = target.rpartition(":")
    if not place:
        place, name = target, ""
    module, running = _execute(place)
    found = _named(module, name, place) if name else running or _only(module, place)
    return adopt(found, options, target)


def adopt(found: object, options: AppOptions, place: str) -> Target:
    """What serves `found`, which may be an application. Raises TargetError."""
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


def _execute(place: str) -> tuple[ModuleType, Kernel | None]:
    """The module, and the kernel it wanted to run itself."""
    is_file = place.endswith(".py") or "/" in place
    try:
        with _explained(place), _kernels_held():
            return (_file if is_file else _module)(place), None
    except _RunsItself as run:
        # An import that does not end leaves no module behind; the functions keep what they need of it.
        return sys.modules.get(FILE, ModuleType(place)), run.kernel


def _file(path: str) -> ModuleType:
    try:
        open(path, "rb").close()
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}") from None
    spec = importlib.util.spec_from_file_location(FILE, os.path.abspath(path))
    if spec is None or spec.loader is None:
        raise TargetError(f"{path}: expected a Python file, *.py")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    root, name = _in_package(os.path.abspath(path))
    if root not in sys.path[:1]:
        sys.path.insert(0, root)
        return importlib.import_module(name)
    module = sys.modules[FILE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _in_package(path: str) -> tuple[str, str]:
    """Where the outermost package of a file is, and the file's name as a module from there."""
    directory, name = os.path.split(path.removesuffix(".py"))
    while os.path.isfile(os.path.join(directory, "__init__.py")):
        directory, package = os.path.split(directory)
        name = f"{package}.{name}"
    return directory, name.removesuffix(".__init__")


def _module(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        if all(map(str.isidentifier, name.split("."))):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and imports one that is not
    parent, _, last = name.rpartition(".")
    hint = "; --chdir says where to look"
    if hasattr(sys.modules.get(parent), last):
        hint = f"; did you mean {parent}:{last}?"
    raise TargetError(f"there is no module {name!r}; expected file.py or module, with :name or without{hint}")


@contextlib.contextmanager
def _kernels_held() -> Iterator[None]:
    """Makes `kernel.run()` the end of the loading."""

    def hold(kernel: Kernel) -> None:
        raise _RunsItself(kernel)

    run = Kernel.run
    Kernel.run = hold  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Kernel.run = run  # type: ignore[method-assign]


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turns every exception into a TargetError that says where; only the user's own bugs keep a traceback."""
    try:
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


def _named(module: ModuleType, name: str, place: str) -> object:
    """What the module calls so; a dotted name goes into it."""
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            hint = _instead(module, name, place) or did_you_mean(part, dir(found))
            raise TargetError(f"{place} has no {name!r}{hint}")
        found = getattr(found, part)
    return found


def _instead(module: ModuleType, name: str, place: str) -> str:
    """A hint at what else a name may have meant that the module does not have, or nothing."""
    if name.endswith("()"):
        return f"; say {place}:{name[:-2]} --factory"
    first, _, rest = name.partition(".")
    if hasattr(module, "__path__") and not hasattr(module, first):
        deeper = f"{module.__name__}.{first}"
        if first.isidentifier() and importlib.util.find_spec(deeper):
            return f"; did you mean {deeper}{rest and ':'}{rest}?"
    return ""


def _only(module: ModuleType, place: str) -> object:
    """What there is to serve if no name was said."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Kernel | HTTPServer)}
    kernels = {value if isinstance(value, Kernel) else value.kernel for value in found.values()}
    if not found:
        for name in NAMES:
            if hasattr(module, name):
                return getattr(module, name)
        raise TargetError(
            f"{place} has nothing to serve at its top level; expected an application called app or "
            "application, or a PreForkServer, an HTTPServer or a Kernel"
        )
    if len(kernels) > 1:
        names = ", ".join(sorted(found))
        raise TargetError(f"{place} has several kernels ({names}): say one, as in {place}:{min(found)}")
    return kernels.pop()
