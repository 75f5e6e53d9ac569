"""`THIRD-PARTY.txt`: the licences of the code of others that is linked into the native module.

Of a crate under a choice of licences it has the shortest: MIT, or BSD. Licences demand that their text and
the names of the authors go with the binary.
"""

from __future__ import annotations

from collections.abc import Iterator

from generate.crates import Crate, linked_crates

HEAD = """\
Generated from Cargo.lock by `make generate`. Do not edit.

The native module of prefork contains code of the crates below, each under the licence that follows, and parts
of the standard library of Rust. Where a crate may be had under several licences, this is the one it is used
under.

The standard library of Rust, and the crates within it, are used under the Apache License, Version 2.0, which
is below. Copyright: the Rust Project Developers (see https://thanks.rust-lang.org).
"""

RULE = "=" * 80
CHOICES = ("LICENSE-MIT", "LICENSE-BSD-3-Clause")
BEGINS = ("license", "licence", "copying", "notice")


def notices() -> str:
    by_text: dict[str, list[Crate]] = {}
    for crate in linked_crates():
        for text in licences(crate):
            by_text.setdefault(text, []).append(crate)
    assert any("apache license" in text.lower() for text in by_text), "the standard library needs it"
    parts = [HEAD]
    for text, crates in by_text.items():
        names = "\n".join(f"{crate.name} {crate.version} ({crate.license})" for crate in crates)
        parts.append(f"{RULE}\n{names}\n{RULE}\n\n{text}\n")
    return "\n".join(parts)


def licences(crate: Crate) -> Iterator[str]:
    """The texts under which the crate is used. Raises FileNotFoundError if it brings none."""
    if " OR " in crate.license and " AND " not in crate.license:
        for name in CHOICES:
            if (crate.folder / name).exists():
                yield text_of(crate, name)
                return
    found = sorted(file.name for file in crate.folder.iterdir() if file.name.lower().startswith(BEGINS))
    if not found:
        raise FileNotFoundError(f"expected a licence in the crate {crate.name} {crate.version}, found none")
    for name in found:
        yield text_of(crate, name)


def text_of(crate: Crate, name: str) -> str:
    lines = (crate.folder / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")
