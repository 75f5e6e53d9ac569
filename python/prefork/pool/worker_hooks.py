"""The functions of the application that are called when a worker starts, exits or has died.

Always: they are found before the first fork. It must know no server and no process.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork.config.options import PreForkOptions

logger = logging.getLogger("prefork.pool")

ARGUMENTS = {"worker_start": ("pid",), "worker_exit": ("pid",), "worker_died": ("pid", "status")}
"""What each hook may have as parameters, by name."""

LIBRARIES = re.compile(rf"{re.escape(os.path.dirname(os.__file__))}/|.*/(site|dist)-packages/")
"""Files that are no code of the user."""

ALL = tuple(ARGUMENTS)
OF_MANAGER = ("worker_died",)


class WorkerHooks:
    """Those of `names` that are set. Raises OptionError for one that is not there or cannot be called."""

    def __init__(self, options: PreForkOptions, names: Iterable[str] = ALL) -> None:
        before = set(sys.modules)
        self._calls = {
            name: _filled(name, load_hook(name, place))
            for name in names
            if (place := getattr(options, name)) is not None
        }

        self._imported = set(sys.modules) - before

    def forget_imports(self) -> None:
        """In a mold: has the application import anew what its manager has imported for a hook.

        Libraries stay: not every one can be imported twice.
        """
        for name in self._imported:
            file = getattr(sys.modules.get(name), "__file__", None)
            if file is not None and not LIBRARIES.match(file):
                del sys.modules[name]

    @property
    def names(self) -> list[str]:
        """Those that are set."""
        return list(self._calls)

    def call(self, name: str, **values: int) -> None:
        """Calls a hook, if it is set. Raises what it raises."""
        if call := self._calls.get(name):
            call(values)

    def try_call(self, name: str, **values: int) -> None:
        """As `call`, but logs what the hook raises."""
        try:
            self.call(name, **values)
        except BaseException:
            logger.exception("%s failed", name)


def load_hook(name: str, place: Callable[..., Any] | str) -> Callable[..., Any]:
    if not isinstance(place, str):
        return place
    module, _, path = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except ModuleNotFoundError as error:
        raise OptionError(f"{name} {place}: {error}") from None
    except AttributeError as error:
        raise OptionError(f"{name} {place}: {error}; expected module:function") from None
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise OptionError(f"{name} {place} is no plain function")
    return found  # type: ignore[no-any-return]


def _filled(name: str, function: Callable[..., Any]) -> Callable[[dict[str, int]], object]:
    """A call of the function that gives it the values that it has parameters for."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return lambda values: function(*values.values())
    known = ARGUMENTS[name]
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.name in known]
    by_name = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        by_name += [value for value in known if value not in by_place]
    for parameter in parameters:
        is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.name not in known and parameter.default is parameter.empty and not is_open:
            raise OptionError(
                f"{name}: {getattr(function, '__qualname__', function)} has the parameter {parameter.name}; "
                f"it may have {', '.join(known)}"
            )
    return lambda values: function(
        *(values[key] for key in by_place),
        **{key: value for key, value in values.items() if key in by_name},
    )
