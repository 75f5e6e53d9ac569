"""The pages of the repository as data: code blocks, links, anchors, and commands in them.

It knows Markdown and nothing of what a block has to be.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


@dataclass(frozen=True)
class Block:
    """A block of code. `language` is empty if the page does not say it."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that the block is all of: its first line is `# name.py`."""
        found = re.match(r"# ([\w./-]+\.\w+)\n", self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Link:
    """Where a link or a picture of a page leads to."""

    page: Path
    target: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.target}"


@cache
def tokens(page: Path) -> list[Token]:
    """A page as it was parsed, with the tokens inside of paragraphs."""
    found = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    return [inner for token in found for inner in (token, *(token.children or ()))]


def blocks(*pages: Path) -> list[Block]:
    """The code blocks of these pages."""
    return [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for page in pages
        for token in tokens(page)
        if token.type == "fence" and token.map
    ]


def links(page: Path) -> list[Link]:
    """The links and pictures of a page."""
    found = (token.attrGet("href") or token.attrGet("src") for token in tokens(page))
    return [Link(page, str(target)) for target in found if target]


def inline_code(page: Path) -> list[str]:
    """What stands in backticks in the text of a page."""
    return [token.content for token in tokens(page) if token.type == "code_inline"]


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as code hosts make them."""
    found: set[str] = set()
    for heading in headings(page):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = next(
            number for number in range(100) if (f"{name}-{number}" if number else name) not in found
        )
        found.add(f"{name}-{number}" if number else name)
    return found


def headings(page: Path) -> list[str]:
    """The text of each heading of a page."""
    parsed = tokens(page)
    return [
        "".join(inner.content for inner in after.children or ())
        for token, after in itertools.pairwise(parsed)
        if token.type == "heading_open"
    ]


def shell_lines(block: Block) -> Iterator[str]:
    """The commands of a block: each line of a script, or what stands behind a prompt."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "sh":
        yield from lines
    else:
        yield from (line[2:] for line in lines if line.startswith("$ "))


def prefork_commands(line: str) -> Iterator[list[str]]:
    """The arguments of each command `prefork` in a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            while command and re.fullmatch(r"[A-Z_]+=.*|sudo|exec|nice|nohup", command[0]):
                del command[0]
            if command and re.fullmatch(r"(.*/)?prefork", command[0]):
                yield command[1:]
            command = []
        else:
            command.append(word)
