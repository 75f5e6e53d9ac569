"""Which server a file or a command line is of, and what that is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

from prefork.cli.importing import gunicorn, uvicorn, uwsgi
from prefork.config.peers.outcome import Found
from prefork.config.peers.setting import Setting
from prefork.config.peers.uwsgi import find as find_of_uwsgi
from prefork.errors import OptionError

Find = Callable[[str], Setting | None]

READ_COMMAND = {
    "gunicorn": gunicorn.read_command,
    "uvicorn": uvicorn.read_command,
    "uwsgi": uwsgi.read_command,
}

FORMS = "expected gunicorn.conf.py, an INI file of uWSGI, or a command of gunicorn, uvicorn or uwsgi"


def read(source: Sequence[str], environment: Mapping[str, str]) -> tuple[Found, Find]:
    """What is given, and how to look a setting up. Raises OptionError."""
    words = list(source)
    for place, word in enumerate(words):
        if (server := os.path.basename(word)) in READ_COMMAND:
            found = READ_COMMAND[server](words[place + 1 :], environment)
            return found, find_of_uwsgi if server == "uwsgi" else found.peer.find
    if len(words) > 1:
        raise OptionError(f"{FORMS}, got {' '.join(words)!r}")
    (file,) = words
    if file.startswith(("python:", "file:")) or file.endswith((".py", ".pyc")):
        found = gunicorn.read_file(file, environment)
        return found, found.peer.find
    path = file.partition(".ini:")[0] + ".ini" if ".ini:" in file else file
    if not os.path.isfile(path):
        raise OptionError(f"{file} is not there; {FORMS}")
    if file.endswith(".toml"):
        raise OptionError(f"{file} is TOML already: `prefork serve TARGET --config {file}`")
    if file.endswith((".xml", ".yml", ".yaml", ".json", ".js")):
        raise OptionError(f"{file}: write it as INI first; `uwsgi --show-config {file}` prints that")
    with open(path, encoding="utf-8", errors="replace") as text:
        if not re.search(r"^\s*\[uwsgi\]", text.read(), re.MULTILINE) and ".ini:" not in file:
            raise OptionError(f"{file} has no section [uwsgi]; {FORMS}")
    return uwsgi.read_file(file, environment), find_of_uwsgi
