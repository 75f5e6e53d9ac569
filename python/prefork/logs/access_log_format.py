"""What is wrong with a format of the access log, and what may be meant.

The native module reads formats, and finds what is wrong. This file is imported only then: no worker has it.
"""

from __future__ import annotations

import difflib

from prefork._engine import access_log_atoms

FORMATS = ("common", "combined", "json")
KINDS = ("i", "o", "e")

MEANT = {
    "addr": "h",
    "address": "h",
    "client": "h",
    "ip": "h",
    "remote_addr": "h",
    "user": "u",
    "remote_user": "u",
    "date": "t",
    "time": "t",
    "request": "r",
    "line": "r",
    "method": "m",
    "path": "U",
    "uri": "U",
    "url": "U",
    "query": "q",
    "query_string": "q",
    "code": "s",
    "status": "s",
    "bytes": "b",
    "length": "b",
    "size": "b",
    "referer": "f",
    "referrer": "f",
    "agent": "a",
    "user_agent": "a",
    "dt_ms": "M",
    "pid": "p",
    "process": "p",
}
"""What other servers, and people, call the atoms of one letter."""


def explain(kind: str, what: str) -> str:
    """A line for what `access_log_fault` has found."""
    if kind == "unknown":
        return f"there is no atom %({what})s{_hint_at_atom(what)}"
    if kind == "invalid":
        return f"expected an atom such as %(h)s, or %% for a percent sign, got {what!r}"
    expected = "common, combined, json or a text with atoms such as %(h)s"
    return f"expected {expected}, got {what!r}{_hint(what, {name: repr(name) for name in FORMATS})}"


def _hint_at_atom(name: str) -> str:
    atoms = access_log_atoms()
    if name.startswith("{"):
        inner, _, kind = name[1:].partition("}")
        kind = kind.lower() if kind.lower() in KINDS else "i"
        return f"; did you mean %({{{inner or 'host'}}}{kind})s?"
    if name.swapcase() in atoms:
        return f"; did you mean %({name.swapcase()})s?"
    long = {atom: atom for atom in atoms if len(atom) > 1}
    return _hint(name, {word: f"%({atom})s" for word, atom in (long | MEANT).items()})


def _hint(name: str, known: dict[str, str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {known[close[0]]}?" if close else ""
