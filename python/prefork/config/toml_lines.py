"""On which line of a TOML file each key stands: `tomllib` does not tell.

Always: the text is valid TOML, because `tomllib` has read it. A key that stands in several tables of an array
has the line of the first one.

It must not know options.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

KeyPath: TypeAlias = tuple[str, ...]
"""The names of the tables that hold a key, and its own."""

_TOKEN = re.compile(
    r"""
      (?P<gap>     [ \t\r]+ | \#[^\n]* )
    | (?P<newline> \n )
    | (?P<text>    \"{3} (?:\\.|[^\\])*? \"{3} (?!\")
                 | '{3} .*? '{3} (?!')
                 | \" (?:\\.|[^"\\])* \"
                 | ' [^']* ' )
    | (?P<mark>    [=\[\]{},.] )
    | (?P<bare>    [^\s\#="'\[\]{},.]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_END = _Token("end", "", 0)


class _Tokens:
    """The tokens of a document, without white space and comments."""

    def __init__(self, document: str) -> None:
        self._rest = _tokens(document)
        self.next = _END
        self.take()

    def take(self) -> _Token:
        """The next token, which is passed."""
        taken, self.next = self.next, next(self._rest, _END)
        return taken

    def skip(self, *texts: str) -> None:
        """Passes all tokens that are one of these."""
        while self.next.text in texts and self.next is not _END:
            self.take()

    def key(self) -> KeyPath:
        """A key, which may be dotted."""
        names = [_name(self.take())]
        while self.next.text == ".":
            self.take()
            names.append(_name(self.take()))
        return tuple(names)


def lines_of(document: str) -> dict[KeyPath, int]:
    """The line of each key and of each table, the first line being 1."""
    found: dict[KeyPath, int] = {}
    tokens = _Tokens(document)
    table: KeyPath = ()
    tokens.skip("\n")
    while tokens.next is not _END:
        if tokens.next.text == "[":
            line = tokens.next.line
            tokens.skip("[")
            table = tokens.key()
            tokens.skip("]")
            _note(found, table, 0, line)
        else:
            _pair(tokens, table, found)
        tokens.skip("\n")
    return found


def _pair(tokens: _Tokens, table: KeyPath, found: dict[KeyPath, int]) -> None:
    line = tokens.next.line
    path = table + tokens.key()
    _note(found, path, len(table), line)
    tokens.skip("=")
    _value(tokens, path, found)


def _value(tokens: _Tokens, path: KeyPath, found: dict[KeyPath, int]) -> None:
    """Passes a value. `path` is where it stands; the keys of inline tables are below it."""
    opening = tokens.take()
    if opening.text == "{":
        tokens.skip("\n", ",")
        while tokens.next.text != "}":
            _pair(tokens, path, found)
            tokens.skip("\n", ",")
        tokens.take()
    elif opening.text == "[":
        tokens.skip("\n", ",")
        while tokens.next.text != "]":
            _value(tokens, path, found)
            tokens.skip("\n", ",")
        tokens.take()
    else:  # a number has a dot, and a date two words
        while tokens.next.kind == "bare" or tokens.next.text == ".":
            tokens.take()


def _note(found: dict[KeyPath, int], path: KeyPath, known: int, line: int) -> None:
    """A dotted key makes the tables that it names. The first `known` names are noted already."""
    for end in range(known + 1, len(path) + 1):
        found.setdefault(path[:end], line)


def _name(token: _Token) -> str:
    if token.kind != "text":
        return token.text
    name: str = tomllib.loads(f"name = {token.text}")["name"]
    return name


def _tokens(document: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(document):
        if match.lastgroup != "gap":
            yield _Token(str(match.lastgroup), match[0], line)
        line += match[0].count("\n")
