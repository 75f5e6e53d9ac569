"""Names of modules as the user of a program knows them: for logs and for what is shown."""

from __future__ import annotations

import sys


def module_of(value: object) -> str:
    """The module that a function or class is from, or the class of an object.

    A file that is served is loaded as `__target__`, which no import finds. It is in `sys.modules` by the name
    of the file as well: that is returned.
    """
    name = str(getattr(value, "__module__", None) or type(value).__module__)
    if not name.startswith("__"):
        return name
    module = sys.modules.get(name)
    others = (other for other, one in list(sys.modules.items()) if one is module and other != name)
    return next(others, name) if module is not None else name
