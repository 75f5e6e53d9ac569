"""The response for an exception: a page for a browser, JSON or plain text for other clients.

Always: every text of the exception, of the code and of the request is escaped; the page loads nothing, and
runs nothing. Values of variables are shown only if that was asked for: they may be secrets.
"""

from __future__ import annotations

import json
import os
from html import escape
from string import Template
from typing import TYPE_CHECKING

from prefork.hosting.dev.traces import Part, Step, parts_of, text_of

if TYPE_CHECKING:
    from prefork._engine import Request

HTML = "text/html; charset=utf-8"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

HIDDEN = "Values of variables are hidden; prefork dev --locals shows them."

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>$kind: $where</title>
<style>
:root {
  color-scheme: light dark;
  --back: #fdfcfa; --text: #1d1c1a; --dim: #6d6a64; --line: #dedad2; --code: #f4f1eb; --here: #ffe3da;
  --accent: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #1a1918; --text: #e9e6e0; --dim: #a19c93; --line: #3b3833; --code: #232120; --here: #4f2a22;
    --accent: #ff8a75;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { margin: 0; font-size: 1.1rem; color: var(--accent); }
h2 { margin: 2.5rem 0 0.5rem; font-size: 1rem; }
p { margin: 0.25rem 0; color: var(--dim); }
pre, code, td { font: 13px/1.5 ui-monospace, monospace; }
pre { margin: 0; overflow-x: auto; }
.message { margin: 0.75rem 0; padding: 0.75rem 1rem; border-left: 4px solid var(--accent);
  background: var(--code); white-space: pre-wrap; overflow-wrap: anywhere; font-size: 15px; }
details { margin: 0.5rem 0; border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
summary { padding: 0.4rem 0.75rem; cursor: pointer; overflow-wrap: anywhere; }
.library > summary { color: var(--dim); }
.code { background: var(--code); padding: 0.5rem 0; }
.code span { display: block; padding: 0 0.75rem; min-width: max-content; }
.code .here { background: var(--here); font-weight: 600; }
.code i { display: inline-block; width: 4ch; margin-right: 2ch; text-align: right; font-style: normal;
  color: var(--dim); user-select: none; }
table { border-collapse: collapse; width: 100%; border-top: 1px solid var(--line); }
td { padding: 0.15rem 0.75rem; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: var(--dim); white-space: nowrap; width: 1%; }
</style>
</head>
<body>
<main>
<h1>$heading</h1>
<p>$where</p>
$parts
<p>$hint</p>
</main>
</body>
</html>
""")


class Pages:
    """`shows_values`: with the values of local variables."""

    def __init__(self, *, shows_values: bool) -> None:
        self._shows_values = shows_values

    def of_request(self, error: BaseException, request: Request) -> tuple[str, str]:
        """The media type and the text for an exception that a request has raised."""
        where = f"{request.method} {request.path}"
        return self.page(error, "The application has raised an exception", where, request.header("accept"))

    def page(self, error: BaseException, heading: str, where: str, accept: str | None) -> tuple[str, str]:
        """The same for any exception, and a client that accepts these media types."""
        kinds = (accept or "").lower()
        if "text/html" in kinds:
            return HTML, self._html(error, heading, where)
        if "json" in kinds:
            return JSON, _json(error, where)
        return TEXT, f"{heading}: {where}\n\n{text_of(error)}"

    def _html(self, error: BaseException, heading: str, where: str) -> str:
        parts = parts_of(error, shows_values=self._shows_values)
        return PAGE.substitute(
            kind=escape(parts[-1].kind),
            heading=escape(heading),
            where=escape(where),
            parts="\n".join(map(_part, parts)),
            hint="" if self._shows_values or not any(part.steps for part in parts) else escape(HIDDEN),
        )


def _json(error: BaseException, where: str) -> str:
    what = {"type": type(error).__name__, "message": str(error), "traceback": text_of(error).splitlines()}
    return json.dumps({"error": what | {"where": where}}, indent=2)


def _part(part: Part) -> str:
    link = f"<h2>{escape(part.link)}</h2>\n" if part.link else ""
    own = [step for step in part.steps if step.is_own]
    opened = own[-1] if own else None
    steps = "\n".join(_step(step, is_open=step is opened) for step in part.steps)
    return f'{link}<pre class="message">{escape(part.text)}</pre>\n{steps}'


def _step(step: Step, *, is_open: bool) -> str:
    lines = "".join(
        f"<span{' class=here' if line.is_here else ''}><i>{line.number}</i>{escape(line.text)}</span>"
        for line in step.lines
    )
    code = f'<pre class="code">{lines}</pre>' if lines else ""
    values = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in step.values.items()
    )
    place = f"<code>{escape(_short(step.file))}:{step.number}</code> in <code>{escape(step.name)}</code>"
    return (
        f'<details{" open" if is_open else ""} class="{"own" if step.is_own else "library"}">'
        f"<summary>{place}</summary>{code}{f'<table>{values}</table>' if values else ''}</details>"
    )


def _short(file: str) -> str:
    """A path below the current directory, without that."""
    return file.removeprefix(f"{os.getcwd()}/")
