"""The servers that are measured. None writes an access log; each has one worker unless its name says more."""

from __future__ import annotations

import shlex
import string
import sys
from collections.abc import Callable
from pathlib import Path

from bench.servers import BODY, CERT, KEY, Recipe, app

WSGI, ASGI, MIXED = "bench.apps.wsgi:app", "bench.apps.asgi:app", "bench.apps.mixed:app"
UPLOAD = "bench.apps.upload:app"
DJANGO = "bench.apps.django_hello:application"
SMALL, LARGE = 10 * 1024, 1024 * 1024
FILES = {"/files/small.bin": SMALL, "/files/large.bin": LARGE}
"""The static files by path, with their bytes."""

Command = Callable[[int, Path], list[str]]


def serve(target: str, options: str = "") -> Command:
    """`prefork serve`. {directory} in the options is the server's own."""
    line = f"prefork serve {target} --log-level warning --bind 127.0.0.1:{{port}} {options}"
    return module(line)


def module(line: str) -> Command:
    """The command of a Python module. {port} and {directory} in it are the server's own."""
    return lambda port, directory: [
        sys.executable,
        "-m",
        *shlex.split(line.format(port=port, directory=directory)),
    ]


def with_files(command: Command) -> Command:
    """The same, with the static files in its directory."""

    def make(port: int, directory: Path) -> list[str]:
        directory.chmod(0o755)  # nginx, started by root, reads as another user
        (directory / "files").mkdir()
        for path, size in FILES.items():
            (directory / path.lstrip("/")).write_bytes(b"x" * size)
        return command(port, directory)

    return make


def _nginx(port: int, directory: Path, ssl: str = "", more: str = "") -> list[str]:
    """`ssl` is what its address needs, `more` are further lines of its server."""
    template = string.Template(Path(__file__).with_name("nginx.conf").read_text())
    file = directory / "nginx.conf"
    body = BODY.replace("\n", "\\n")
    file.write_text(template.substitute(port=port, directory=directory, body=body, ssl=ssl, more=more))
    return ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(file)]


def _nginx_tls(port: int, directory: Path, ssl: str = "ssl") -> list[str]:
    # Without a cache of sessions: a ticket has all, as in prefork.
    more = f"ssl_certificate {CERT}; ssl_certificate_key {KEY}; ssl_protocols TLSv1.2 TLSv1.3;"
    return _nginx(port, directory, ssl, more)


def _nginx_http2_tls(port: int, directory: Path) -> list[str]:
    return _nginx_tls(port, directory, "ssl http2")


def _nginx_http2(port: int, directory: Path) -> list[str]:
    return _nginx(port, directory, "http2")


def _uwsgi(port: int, _directory: Path) -> list[str]:
    """With its HTTP router in front, which keeps the connections and sends each request to a free worker."""
    options = f"--http 127.0.0.1:{port} --http-keepalive=75 --listen 100 --master --processes 8 --die-on-term"
    program = Path(sys.executable).with_name("uwsgi")
    return [str(program), *options.split(), "--disable-logging", "--pythonpath", ".", "--module", MIXED]


def synopsis(workers: int) -> Recipe:
    """The example of the README as a pool of so many workers."""
    return Recipe(f"synopsis, {workers} workers", serve("examples/synopsis.py", f"--workers {workers}"))


# --timeout 0: workers that were paused by the bench must not be killed for it.
_GUNICORN = "--bind 127.0.0.1:{port} --timeout 0 --backlog 2048 --keep-alive 75 --no-control-socket"
_GRANIAN_ANY = "--host 127.0.0.1 --port {port} --backlog 2048 --no-log"
_GRANIAN = f"{_GRANIAN_ANY} --http 1"
# "auto" is uvloop and httptools where they are installed, as the extra `bench` does.
_UVICORN = "--port {port} --loop auto --http auto --no-access-log --log-level warning --backlog 2048"

NGINX = Recipe("nginx, return 200", _nginx)

# Events

DONE = Recipe("prefork, response.done()", app("single", "done"))
CALLED = Recipe('prefork, call "DONE"', app("single", "called"))
POSTED = Recipe('prefork, post "DONE"', app("single", "posted"))
WORKER = Recipe("prefork, pool of one worker", app("pool", "done", "1"))

# Hello

WSGI_PREFORK = Recipe("prefork, WSGI", serve(WSGI, "--workers 1"))
WSGI_FASTPYSGI = Recipe("FastPySGI, WSGI", app("fast", WSGI))
WSGI_GRANIAN = Recipe(
    "granian, WSGI", module(f"granian --interface wsgi --blocking-threads 1 {_GRANIAN} {WSGI}")
)
WSGI_GUNICORN = Recipe(
    "gunicorn, gthread", module(f"gunicorn --worker-class gthread --threads 1 {_GUNICORN} {WSGI}")
)

# Without a pool: what serves is the process that was started.
WSGI_ALONE = Recipe("prefork, WSGI", serve(WSGI, "--start 0"))
ASGI_ALONE = Recipe("prefork, ASGI", serve(ASGI, "--start 0"))
ASGI_UVLOOP_ALONE = Recipe("prefork, ASGI on uvloop", serve(ASGI, "--start 0 --loop uvloop"))

ASGI_PREFORK = Recipe("prefork, ASGI", serve(ASGI, "--workers 1"))
ASGI_UVLOOP = Recipe("prefork, ASGI on uvloop", serve(ASGI, "--workers 1 --loop uvloop"))
ASGI_FASTPYSGI = Recipe("FastPySGI, ASGI", app("fast", ASGI))
# Its pings, each 20 s, would come among the echoes when callgrind makes it slow.
_WEBSOCKETS = "--ws websockets --ws-ping-interval 3600"
ASGI_UVICORN = Recipe("uvicorn, uvloop and httptools", module(f"uvicorn {_UVICORN} {_WEBSOCKETS} {ASGI}"))
ASGI_GRANIAN = Recipe("granian, ASGI", module(f"granian --interface asgi {_GRANIAN} {ASGI}"))

# With an access log. Each list begins with the server without one.

_LOG = "--access-log {directory}/access.log"
WSGI_COMBINED_ALONE = Recipe("prefork, WSGI, combined", serve(WSGI, f"--start 0 {_LOG}"))
WSGI_JSON_ALONE = Recipe("prefork, WSGI, json", serve(WSGI, f"--start 0 {_LOG} --access-log-format json"))
_GRANIAN_LOG = _GRANIAN.replace("--no-log", "--log --log-level critical --access-log")
LOGGED = (
    (
        WSGI_PREFORK,
        (
            Recipe("prefork, WSGI, combined", serve(WSGI, f"--workers 1 {_LOG}")),
            Recipe("prefork, WSGI, json", serve(WSGI, f"--workers 1 {_LOG} --access-log-format json")),
        ),
    ),
    (
        WSGI_GRANIAN,
        (
            Recipe(
                "granian, WSGI, access log",
                module(f"granian --interface wsgi --blocking-threads 1 {_GRANIAN_LOG} {WSGI}"),
            ),
        ),
    ),
    (
        WSGI_GUNICORN,
        (
            Recipe(
                "gunicorn, gthread, combined",
                module(
                    f"gunicorn --worker-class gthread --threads 1 {_GUNICORN} "
                    f"--access-logfile {{directory}}/access.log {WSGI}"
                ),
            ),
        ),
    ),
)

LOG_STEPS = tuple(
    Recipe(name, serve(WSGI, f"--workers 1 {flags}"))
    for name, flags in (
        ("all paths are skipped", f"{_LOG} --access-log-skip *"),
        ("combined to /dev/null", "--access-log /dev/null"),
        ("combined to a file", _LOG),
        ("json to /dev/null", "--access-log /dev/null --access-log-format json"),
        ("json to a file", f"{_LOG} --access-log-format json"),
    )
)
"""Each does more than the one before it, or the same with a longer line: where the time of a log goes."""

# Static files

STATIC_NGINX = Recipe("nginx, sendfile", with_files(_nginx))
STATIC_PREFORK = Recipe(
    "prefork, --static", with_files(serve(WSGI, "--workers 1 --static /files={directory}/files"))
)

# Uploads

UPLOAD_PREFORK = Recipe("prefork, ASGI", serve(UPLOAD, "--workers 1"))
UPLOAD_GRANIAN = Recipe("granian, ASGI", module(f"granian --interface asgi {_GRANIAN} {UPLOAD}"))

# Eight workers of one request at a time

MIXED_PREFORK = Recipe("prefork", serve(MIXED, "--workers 8"))
MIXED_RECYCLED = Recipe(
    "prefork, workers replaced each 200 requests", serve(MIXED, "--workers 8 --max-requests 200")
)
MIXED_GRANIAN = Recipe(
    "granian", module(f"granian --interface wsgi --workers 8 --blocking-threads 1 {_GRANIAN} {MIXED}")
)
MIXED_GTHREAD = Recipe(
    "gunicorn gthread",
    module(f"gunicorn --worker-class gthread --workers 8 --threads 1 {_GUNICORN} {MIXED}"),
)
MIXED_SYNC = Recipe(
    "gunicorn sync, no keep-alive", module(f"gunicorn --worker-class sync --workers 8 {_GUNICORN} {MIXED}")
)
MIXED_UWSGI = Recipe("uWSGI behind its router", _uwsgi)

# TLS

TLS = f"--tls-cert {CERT} --tls-key {KEY}"
TLS_NGINX = Recipe("nginx, TLS", with_files(_nginx_tls), tls=True)
TLS_PREFORK = Recipe(
    "prefork, TLS",
    with_files(
        serve(WSGI, f"--workers 1 --static /files={{directory}}/files --keep-alive-timeout 900 {TLS}")
    ),
    tls=True,
)
TLS_MIXED = Recipe("prefork, TLS", serve(MIXED, f"--workers 8 {TLS}"), tls=True)

# HTTP/2

H2C_NGINX = Recipe("nginx, h2c", _nginx_http2, http2=True)
H2C_PREFORK = Recipe("prefork, h2c", serve(WSGI, "--workers 1 --h2c"), http2=True)
H2_NGINX = Recipe("nginx, HTTP/2 over TLS", _nginx_http2_tls, tls=True, http2=True)
H2_PREFORK = Recipe("prefork, HTTP/2 over TLS", serve(WSGI, f"--workers 1 {TLS}"), tls=True, http2=True)
_GRANIAN_HTTP2 = f"granian --interface wsgi --blocking-threads 1 {_GRANIAN_ANY} --http 2"
H2C_GRANIAN = Recipe("granian, h2c", module(f"{_GRANIAN_HTTP2} {WSGI}"), http2=True)
H2_GRANIAN = Recipe(
    "granian, HTTP/2 over TLS",
    module(f"{_GRANIAN_HTTP2} --ssl-certificate {CERT} --ssl-keyfile {KEY} {WSGI}"),
    tls=True,
    http2=True,
)
H2C_MIXED = Recipe("prefork, h2c", serve(MIXED, "--workers 8 --h2c"), http2=True)
H2_MIXED = Recipe("prefork, HTTP/2 over TLS", serve(MIXED, f"--workers 8 {TLS}"), tls=True, http2=True)
H2C_MIXED_GRANIAN = Recipe(
    "granian, h2c",
    module(f"granian --interface wsgi --workers 8 --blocking-threads 1 {_GRANIAN_ANY} --http 2 {MIXED}"),
    http2=True,
)

# Memory

DJANGO_PREFORK = Recipe("prefork", serve(DJANGO, "--workers 8"))
# CPython 3.11 has no immortal objects.
_SHARING = "--warm /warm" + (" --immortal" if sys.version_info[:2] in ((3, 12), (3, 13)) else "")
DJANGO_WARM = Recipe(f"prefork, {_SHARING}", serve(DJANGO, f"--workers 8 {_SHARING}"))
DJANGO_GUNICORN = Recipe(
    "gunicorn, --preload", module(f"gunicorn --preload --workers 8 {_GUNICORN} {DJANGO}")
)
