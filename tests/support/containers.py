"""What a container takes from the programs in it: system calls that its own filter refuses."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable

LANDLOCK = (444, 445, 446)
"""The same on every architecture: landlock_create_ruleset, landlock_add_rule, landlock_restrict_self."""
SECCOMP = (317,) if os.uname().machine == "x86_64" else (277,)

_LOAD_NUMBER, _IS_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVS, _SET_FILTER = 38, 22


def refusing(errno: int, *calls: int) -> Callable[[], None]:
    """A function for a new process, which installs a filter that refuses these calls (seccomp(2))."""
    refused = [(_IS_EQUAL, len(calls) - place, 0, number) for place, number in enumerate(calls)]
    program = [(_LOAD_NUMBER, 0, 0, 0), *refused, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | errno)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    about = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def install() -> None:
        if prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(_SET_FILTER, 2, about, 0, 0):
            raise OSError(ctypes.get_errno(), "seccomp")
        assert code  # it has to live until here

    return install
