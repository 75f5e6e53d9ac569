"""`docs/from-gunicorn.md`, `docs/from-uvicorn.md` and `docs/from-uwsgi.md`: every setting, from the tables of
`prefork.config.peers`, behind an introduction by hand.

`missing` compares a table with the server that is installed: `make generate` says what there is to add.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from prefork.config.peers.gunicorn import GUNICORN
from prefork.config.peers.setting import FLAG, Fate, Peer, Setting
from prefork.config.peers.uvicorn import UVICORN
from prefork.config.peers.uwsgi import IMPOSSIBLE, NEEDLESS, TAKES, UWSGI, find

NOTICE = "<!-- Generated from python/prefork/config/peers/ by `make generate`. Do not edit. -->\n\n"

OF_ALL = """\
- **The number of workers follows the load**, unless it is set: 10 at first, then between 5 and 10 are idle, and at most
  `--max-clients` (256) are there. What `import-config` writes has the number of workers of today. Delete that line to have
  the pool adapt (`WEB_CONCURRENCY` is heeded either way); an application that keeps state in the memory of its one worker needs `--workers 1`, as there.
- **A busy worker takes no new request while another one is free.** On a connection of a worker that is busy, the next request
  is handed to another worker.
- **Other peers' `X-Forwarded-*` fields are removed**, and those of a proxy on this machine are heeded
  ([proxies.md](proxies.md)).
- **Requests follow RFC 9112 to the letter.** [What is refused](hosting.md#requests-that-are-refused) is more than elsewhere:
  a target that differs from `Host`, for example, gets 400. Header fields whose names have an underscore are dropped.
- **HTTP/2 is on** wherever there is TLS ([http2.md](http2.md)).
- **A request that waits for a worker is not lost**, but gets 503 if more than `--max-queue` (2000) wait.
- Sessions of Socket.IO or Engine.IO that begin with polling need one worker (`--workers 1`), a proxy that sends a client to
  the same server each time, or WebSockets alone (`transports: ["websocket"]`), as there.
"""  # noqa: E501

GUNICORN_HEAD = """\
# From gunicorn

The application stays as it is, WSGI or ASGI. Most settings have the same name.

## In five minutes

Put `prefork import-config --` in front of the command that starts gunicorn today. It reads the command line, the
configuration file and `GUNICORN_CMD_ARGS`, and writes TOML. Comments in it say of each setting what has become of it.
gunicorn need not be installed.

```sh
pip install prefork
prefork import-config -- gunicorn shop.wsgi -c gunicorn.conf.py > prefork.toml
prefork check shop.wsgi:application
prefork serve shop.wsgi:application
```

The configuration file is a program: it is run once, as gunicorn runs it, and must be trusted as far. Functions in it are not
taken over, because hooks have other parameters here; the file says which option is the counterpart, and in which line the
function stands. A function that calls `mark_process_dead` of prometheus_client becomes `worker_died`.

## What differs

"""  # noqa: E501

GUNICORN_MORE = """\
- **`--timeout`** of sync workers is `--request-timeout`: the client gets 504, and the worker is replaced if it is stuck. It
  is off by default. `--heartbeat-timeout` also ends a worker that is blocked without a request.
- **The application is loaded once**, in a process of its own that forks the workers, as with `--preload`. HUP brings new code
  all the same ([operations.md](operations.md#reload)). `--no-preload` loads it in each worker.
- **USR2** upgrades without downtime, and no connection is closed; WINCH and QUIT to the former process are not needed.
  `prefork upgrade` waits until it is done ([operations.md](operations.md#upgrade)). USR1 is not needed: the access log
  detects rotation. TTIN and TTOU are not there: use `prefork scale`.
- **A `Connection` header of the application** is an error with a line in the log, not dropped: PEP 3333 forbids hop-by-hop
  headers.
- **`module:create()`** is `module:create --factory`. Without a name, `app` or `application` of a module is served.
- **gevent and eventlet** are not supported: an application with their monkey patches is refused. Use `--threads`, or more
  workers.
- **`LISTEN_FDS`** is heeded; `--bind systemd:name` takes sockets by name ([listening.md](listening.md)).

"""  # noqa: E501

UVICORN_HEAD = """\
# From uvicorn

The application stays as it is. `--factory`, `--workers`, `--root-path`, `--loop`, `--lifespan` and others have the same name.

## In five minutes

Put `prefork import-config --` in front of the command that starts uvicorn today. It writes TOML, with comments that say of
each setting what has become of it. uvicorn need not be installed.

```sh
pip install prefork
prefork import-config -- uvicorn main:app --workers 4 --proxy-headers > prefork.toml
prefork check main:app
prefork serve main:app
```

`uvicorn.run(app, ...)` in a program is `prefork.run(app, ...)`, with the options of [options.md](options.md).

## What differs

"""  # noqa: E501

UVICORN_MORE = """\
- **There is no access log** unless `--access-log -` asks for it. What `import-config` writes has that line.
- **`--loop auto` is asyncio**, also if uvloop is installed. `--loop uvloop` uses it.
- **`--limit-concurrency`** responds to further requests with 503. Here requests wait until a worker has room; `--max-queue`
  limits how many do, with 503 beyond it. `--concurrency` is the number of requests with which a worker is full and other
  workers are preferred.
- **A shutdown has an end** by default: `--graceful-timeout` is 30 seconds.
- **Streams that listen are told of a shutdown** by `http.disconnect` ([hosting.md](hosting.md#asgi)).

"""  # noqa: E501

UWSGI_HEAD = """\
# From uWSGI

The WSGI application stays as it is. What uWSGI has beside a server (queues, timers, caches, routing, the Emperor) is left to
programs for that.

## In five minutes

`prefork import-config` reads an INI file, with placeholders, variables and simple conditions, or a command line of uWSGI. It
writes TOML, with comments that say of each option what has become of it. uWSGI need not be installed.

```sh
pip install prefork
prefork import-config uwsgi.ini > prefork.toml
prefork check shop.wsgi:application
prefork serve shop.wsgi:application
```

`uwsgi --show-config` writes XML, YAML, JSON and loops as INI first.

## What differs

- **HTTP instead of uwsgi.** The proxy in front has to change, too. In nginx, instead of `uwsgi_pass` and
  `include uwsgi_params`:

  ```nginx
  proxy_pass http://unix:/run/shop/socket;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  ```

- **A virtual environment is not named**, but has its own `bin/prefork`.
- **The module `uwsgi` is not there.** Code that imports it has to do without: locks, caches, `uwsgidecorators`, spoolers.
- **TERM ends the server**, as with `die-on-term`. HUP loads new code without losing a request.
- **Keep-alive is on.** With `http-socket` it was not.
- **There is no access log** unless `--access-log -` asks for it. What `import-config` writes has that line.
"""  # noqa: E501

PEERS = (GUNICORN, UVICORN, UWSGI)

HEADS = {
    "gunicorn": GUNICORN_HEAD + OF_ALL + GUNICORN_MORE,
    "uvicorn": UVICORN_HEAD + OF_ALL + UVICORN_MORE,
    "uwsgi": UWSGI_HEAD + OF_ALL + "\n",
}


def gunicorn_page() -> str:
    """The whole page."""
    return _page(GUNICORN, "Every setting of gunicorn, in the order of its documentation.")


def uvicorn_page() -> str:
    """The whole page."""
    return _page(UVICORN, "Every option of uvicorn, in the order of its help.")


def uwsgi_page() -> str:
    """The whole page."""
    text = _page(UWSGI, "Options with a counterpart, and what is said of some others.")
    return "\n".join([text, *_groups("Not needed", NEEDLESS), *_groups("Not possible", IMPOSSIBLE)])


def missing(peer: Peer) -> set[str]:
    """Settings and flags of the server that is installed which the table lacks. Raises ImportError."""
    known = set(TAKES) if peer is UWSGI else {*peer.settings, *_flags(peer)}
    return {name for names in installed(peer).values() for name in names} - known


def installed(peer: Peer) -> dict[str, set[str]]:
    """The settings of the server that is installed, each with its name and its flags. Raises ImportError."""
    if peer is GUNICORN:
        settings = importlib.import_module("gunicorn.config").make_settings()
        return {name: {name, *(setting.cli or ())} for name, setting in settings.items()}
    if peer is UVICORN:
        parameters = importlib.import_module("uvicorn.main").main.params
        return {one.name: {one.name, *one.opts, *one.secondary_opts} for one in parameters}
    beside = Path(sys.executable).with_name("pyuwsgi")
    program = beside if beside.exists() else shutil.which("uwsgi")
    if program is None:
        raise ImportError("there is no program uwsgi")
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return {name: {name} for name in re.findall(r"^ +(?:-\w\|)?--([\w-]+)", text, re.MULTILINE)}


def _flags(peer: Peer) -> set[str]:
    return {flag for setting in peer.settings.values() for flag in setting.flags}


def _page(peer: Peer, about: str) -> str:
    name = "uWSGI" if peer is UWSGI else peer.name
    lines = [
        f"## Settings of {name} {peer.version}",
        "",
        f"{about} Where there is no option, it is *not needed*, or *not possible*, with what to do instead.",
        "",
        f"| {name} | prefork | |",
        "|---|---|---|",
        *(_row(peer, setting) for setting in peer.settings.values()),
        "",
    ]
    return NOTICE + HEADS[peer.name] + "\n".join(lines)


def _row(peer: Peer, setting: Setting) -> str:
    aliases = [alias for alias, name in peer.aliases.items() if name == setting.name and alias in TAKES]
    names = [setting.name, *aliases, *setting.flags]
    options = ", ".join(f"`--{key.replace('_', '-')}`" for key in setting.to)
    without = {Fate.NEEDLESS: "*not needed*", Fate.IMPOSSIBLE: "*not possible*"}
    none = without.get(setting.fate, "depends on its value")
    note = _with_code(setting.note or ("the same" if setting.fate is Fate.TAKEN else ""))
    return f"| {', '.join(f'`{name}`' for name in names)} | {options or none} | {note} |"


def _groups(title: str, reasons: dict[str, str]) -> Iterable[str]:
    yield f"## {title}"
    yield ""
    yield "| uWSGI | |"
    yield "|---|---|"
    seen: set[str] = set()
    for why, patterns in reasons.items():
        names = [
            name
            for name in TAKES
            if name not in seen
            and (setting := find(name)) is not None
            and setting.name == name
            and name not in UWSGI.settings
            and setting.note == why
            and any(fnmatchcase(name, pattern) for pattern in patterns.split())
        ]
        seen.update(names)
        if names:
            yield f"| {', '.join(f'`{name}`' for name in names)} | {_with_code(why)} |"
    yield ""


def _with_code(text: str) -> str:
    """A text with the flags in it as code, unless they are that already."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [FLAG.sub(r"`\g<0>`", part) for part in parts[::2]]
    return "`".join(parts)
