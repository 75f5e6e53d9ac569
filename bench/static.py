"""Files from the disk's cache, beside nginx with sendfile: 10 KiB and 1 MiB, 64 keep-alive connections."""

from __future__ import annotations

import re

from bench.closed_loop import Talk, by_talk
from bench.findings import Figure, Findings, Setting, Table
from bench.recipes import FILES, STATIC_NGINX, STATIC_PREFORK
from bench.rounds import measure
from bench.runs import compare, cpu, details, rate, table
from bench.servers import Server, request

RECIPES = (STATIC_NGINX, STATIC_PREFORK)
NAMES = {path: f"file of {size // 1024:,} KiB" for path, size in FILES.items()}


def run(setting: Setting) -> Findings:
    effort = setting.effort
    loads = {
        name: by_talk(Talk(Server.connect, request(path), _length), effort.run_s, setting.cores.client)
        for path, name in NAMES.items()
    }
    rounds = measure(RECIPES, loads, effort.rounds, setting)
    figures: list[Figure] = []
    tables: list[Table] = []
    for name in loads:
        ours = (rounds, name, STATIC_PREFORK, STATIC_NGINX)
        figures += [
            compare(f"static {name}: requests/s", *ours, rate, (">=", 0.9)),
            compare(f"static {name}: CPU per request", *ours, cpu),
        ]
        tables.append(table(f"Static {name}", rounds, name, RECIPES, STATIC_NGINX, "requests"))
    return Findings(figures, tables, details(rounds, loads))


def _length(response: bytes) -> int:
    """The head's, and what it announces."""
    head, end, _ = response.partition(b"\r\n\r\n")
    if not end:
        return 0
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    announced = int(length[1]) if length else 0
    if not head.startswith(b"HTTP/1.1 200") or announced not in FILES.values():
        raise RuntimeError(f"not the file: {head[:200]!r}")
    return len(head) + len(end) + announced
