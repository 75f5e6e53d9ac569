"""The immortal heap: reference counts that no process writes (`--immortal`; PEP 683).

CPython writes the count of an object each time it is used, and so each worker gets pages of its own with
objects that none of them changes: code, names, types. What is there before a fork and is never freed anyway
can do without a count.

Always: the mark is of a kind that CPython itself uses, in a version whose objects are known to look so. It
must not know the kernel.
"""

from __future__ import annotations

import functools
import gc
import logging
import re
import sys
import types

from prefork._engine import immortalise

logger = logging.getLogger("prefork.kernel")

KINDS: tuple[type, ...] = (
    # Values that never change.
    *(str, bytes, int, float, complex, range, slice, tuple, frozenset, re.Pattern),
    # Code, and what leads to it. An import keeps all of it.
    *(types.CodeType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.CellType),
    *(types.ModuleType, types.MappingProxyType, property, classmethod, staticmethod),
    *(types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType),
    *(types.GetSetDescriptorType, types.MemberDescriptorType, types.ClassMethodDescriptorType),
    *(functools.partial, type(functools.lru_cache(int)), functools.cached_property),
)
"""What has no count any more, beside every class. What may be made and freed many times while a process
lives, such as lists, dicts and other instances, keeps its count: each that is replaced would stay."""


def fix_counts() -> bool:
    """Fixes the counts of what is in memory now. To be called before `gc.freeze()` and the first fork.

    False, and a line in the log, if this interpreter is not known to allow it. Nothing is changed then.
    """
    version = sys.version_info[:2]
    # A debug build ("d") checks its counts, and one without a GIL ("t") has others.
    is_usual = sys.implementation.name == "cpython" and sys.abiflags == ""
    try:
        count = immortalise(gc.get_objects(), KINDS, version, is_usual)
    except RuntimeError as error:
        name = ".".join(map(str, version))
        logger.warning("--immortal is off: CPython 3.12 and 3.13 have it, and this is %s: %s", name, error)
        return False
    logger.info("fixed the reference counts of %d objects", count)
    return True
