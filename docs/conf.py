"""How Sphinx makes a site of these pages: `make docs`.

The pages are plain Markdown, as a code host shows it. What only the site needs is added while they are read:
the navigation, which follows from the lists of index.md, and the addresses of files outside of this folder.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
MANIFEST = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = MANIFEST.get("urls", {}).get("Source", "")

project = MANIFEST["name"]
author = "The prefork project"
extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns = ["pictures"]
highlight_language = "text"

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"source_repository": SOURCE, "source_branch": "main", "source_directory": "docs/"}

WITHOUT_LEXER = ("caddy", "haproxy")
"""Languages of code blocks that Pygments does not know."""


def navigation(index: str) -> str:
    """The sections of the index as Sphinx takes them: a heading, and the pages that its list links to."""
    parts = []
    for section in index.split("\n## ")[1:]:
        caption, _, text = section.partition("\n")
        pages = re.findall(r"^- \[.*?\]\(([\w-]+)\.md\)", text, re.MULTILINE)
        if pages:
            parts.append(
                "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])
            )
    return "\n".join(parts)


def at_source(text: str) -> str:
    """Links to files outside of this folder as links to where the sources are, or without one as text."""

    def replaced(found: re.Match[str]) -> str:
        label, path, anchor = found.groups()
        if not SOURCE:
            return label
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"[{label}]({SOURCE}/{kind}/main/{path}{anchor or ''})"

    return re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)(#[^)]*)?\)", replaced, text)


def read(_app: Sphinx, name: str, source: list[str]) -> None:
    """Changes the text of a page before it is parsed."""
    source[0] = at_source(source[0])
    if name == "index":
        source[0] += "\n" + navigation(source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read)
    for language in WITHOUT_LEXER:
        app.add_lexer(language, TextLexer)
