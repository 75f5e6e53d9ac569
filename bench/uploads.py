"""A form with a file of 200 MB: what it costs the server, by itself and on a busy machine.

On a busy machine the client gets the processor for a short time only, so that a server which reads at once
gets little: each part costs a turn of the application's loop, and here a call in a thread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.findings import Figure, Findings, Setting, Table
from bench.machine import pinned
from bench.processes import cpu_ns
from bench.recipes import UPLOAD_GRANIAN, UPLOAD_PREFORK, WSGI_ALONE
from bench.rounds import Load, Rounds, measure
from bench.servers import Server

RECIPES = (UPLOAD_PREFORK, UPLOAD_GRANIAN)
BYTES = 200_000_000
CONNECTIONS = 64
"""Of the other load."""
UPLOAD_S = 60.0


@dataclass(frozen=True)
class Upload:
    cpu_ms: float
    parts: int


def run(setting: Setting) -> Findings:
    core = setting.cores.client
    with (
        tempfile.NamedTemporaryFile(prefix="prefork-upload-") as file,
        Server(WSGI_ALONE, core) as neighbour,
    ):
        file.truncate(BYTES)
        path = Path(file.name)

        def alone(server: Server, _: int) -> Upload:
            return send(server, path, core)

        def beside_others(server: Server, _: int) -> Upload:
            with loaded(neighbour, core):
                return send(server, path, core)

        loads: dict[str, Load[Upload]] = {"alone": alone, "on a busy machine": beside_others}
        rounds = measure(RECIPES, loads, setting.effort.rounds, setting)
    figures = [
        Figure(
            f"upload of 200 MB {name}: CPU",
            rounds.ratio(UPLOAD_PREFORK, UPLOAD_GRANIAN, name, lambda upload: upload.cpu_ms),
            f"of {UPLOAD_GRANIAN.kind}",
            ("<=", 1.0),
            rounds.why(*RECIPES),
        )
        for name in loads
    ]
    details = {
        name: {server: [dataclasses.asdict(one) for one in them] for server, them in rounds.of(name).items()}
        for name in loads
    }
    return Findings(figures, [table(name, rounds) for name in loads], details)


def send(server: Server, file: Path, core: int) -> Upload:
    """Uploads the file. Raises RuntimeError if it did not arrive whole."""
    before = cpu_ns(server.pid)
    command = ["curl", "--silent", "--form", f"file=@{file}", server.url_of("/upload")]
    with pinned(core):
        done = subprocess.run(command, capture_output=True, text=True, timeout=UPLOAD_S, check=False)
    size, _, parts = done.stdout.partition(" ")
    if size != str(BYTES):
        raise RuntimeError(f"not uploaded: {done.stdout[-100:]!r}")
    return Upload((cpu_ns(server.pid) - before) / 1e6, int(parts))


@contextlib.contextmanager
def loaded(neighbour: Server, core: int) -> Iterator[None]:
    """Another server is under load, all of it on the core of the client."""
    options = ["--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{UPLOAD_S:.0f}"]
    with (
        pinned(core),
        subprocess.Popen(["wrk", *options, neighbour.url], stdout=subprocess.DEVNULL) as load,
    ):
        try:
            yield
        finally:
            load.kill()


def table(name: str, rounds: Rounds[Upload]) -> Table:
    rows = []
    for recipe in RECIPES:
        cpu_ms = rounds.median(recipe, name, lambda upload: upload.cpu_ms)
        parts = rounds.median(recipe, name, lambda upload: upload.parts)
        missing = cpu_ms is None or parts is None
        rows.append((recipe.name, *(("missing", "") if missing else (f"{cpu_ms:,.0f}", f"{parts:,.0f}"))))
    return Table(f"Upload of 200 MB, {name}", ("server", "CPU ms", "parts"), rows)
