"""`manage.py serve`: checks the project as `runserver` does, and becomes `prefork serve`.

Always: the process that serves is `prefork serve` itself, by exec. So its manager has no Django in memory, a
reload brings new code, and an upgrade new versions.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.db.utils import Error as DatabaseError

from prefork.config.checked import EXTERNAL
from prefork.config.option import Option
from prefork.contrib.django import project

ADDRESS = re.compile(r"(?:(?P<host>\[[:.%\w]+\]|[^:\[\]/\s]+):)?(?P<port>\d+)")
"""What runserver takes."""

OURS = ("factory", "interface")
"""Options of `prefork serve` that follow from the project."""

SOURCES = ("config", "profile", "env_file")
"""What says where options come from."""

PREFIX = "prefork_"
"""Of the option's names in the parser: Django has options of its own."""


class Command(BaseCommand):
    """`manage.py serve`."""

    help = "Serves this project with prefork. Each option of 'prefork serve' is one here."

    def add_arguments(self, parser: CommandParser) -> None:
        """Those of runserver that make sense here, and those of `prefork serve`."""
        parser.add_argument("addrport", nargs="?", help="port, or address:port; 127.0.0.1:8000 by default")
        parser.add_argument("--asgi", action="store_true", help="serve the ASGI application of the project")
        parser.add_argument("--nostatic", action="store_true", help="serve no static files")
        parser.add_argument("--config", "-c", metavar="FILE", help="TOML file that sets options of prefork")
        parser.add_argument("--profile", metavar="NAME", help="profile of that file")
        parser.add_argument("--env-file", metavar="FILE", action="append", help="file of variables")
        options = parser.add_argument_group("options of prefork")
        for option in EXTERNAL.values():
            if option.key not in OURS:
                options.add_argument(option.flag, dest=f"{PREFIX}{option.key}", **_parsed(option))

    def handle(self, *_args: Any, **options: Any) -> None:
        """Checks the project, and serves it. Does not return."""
        if not settings.DEBUG and not settings.ALLOWED_HOSTS:
            raise CommandError("You must set settings.ALLOWED_HOSTS if DEBUG is False.")
        if "DJANGO_SETTINGS_MODULE" not in os.environ:
            raise CommandError("DJANGO_SETTINGS_MODULE is not set: the workers would have no settings.")
        flags = list(_flags(options))
        if options["addrport"]:
            if options[f"{PREFIX}bind"]:
                raise CommandError(
                    f"{options['addrport']} and --bind both say where to listen: use one of them"
                )
            flags.append(f"--bind={address(options['addrport'])}")
        interface = "asgi" if options["asgi"] else "wsgi"
        mounts = None if options["nostatic"] else options[f"{PREFIX}static"] or []
        place, static = self._place(mounts, asgi=options["asgi"])
        flags += [f"--interface={interface}", *static, *(["--factory"] if place.is_factory else [])]
        self._look_for_migrations()
        self._become([*flags, place.target], modules=2 if options["pythonpath"] else 1)

    def _place(self, mounts: list[str] | None, *, asgi: bool) -> tuple[project.Place, list[str]]:
        """What to serve, and the flags for its static files: none beside a mount of the same path that was
        given. `mounts` is None if there are to be none.
        """
        place = project.asgi_place() if asgi else project.wsgi_place()
        if mounts is None:
            return place, []
        found = project.static_files()
        if found.why_not:
            self.stderr.write(self.style.WARNING(f"Static files are not served: {found.why_not}."))
        if found.by_finders:
            place = project.debug_place(asgi=asgi)
        prefix = found.mount.partition("=")[0]
        is_given = any(mount.partition("=")[0].rstrip("/") == prefix for mount in mounts)
        return place, [f"--static={found.mount}"] if found.mount and not is_given else []

    def _look_for_migrations(self) -> None:
        try:
            self.check_migrations()
        except DatabaseError as error:
            text = " ".join(str(error).split())
            self.stderr.write(self.style.WARNING(f"Cannot look for unapplied migrations: {text}"))
        for connection in connections.all(initialized_only=True):
            connection.close()

    def _become(self, arguments: list[str], modules: int) -> None:
        """Becomes `prefork serve`, which finds modules where this program does: in so many first directories
        of its path.
        """
        self.stdout.flush()
        self.stderr.flush()
        paths = [os.path.abspath(one) for one in sys.path[:modules]]
        paths += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
        warnings = [f"-W{one}" for one in sys.warnoptions]
        os.execve(
            sys.executable, [sys.executable, *warnings, "-m", "prefork", "serve", *arguments], environment
        )


def address(text: str) -> str:
    """Where `runserver` would listen, as a value of --bind. Raises CommandError."""
    found = ADDRESS.fullmatch(text)
    if found is None:
        raise CommandError(f'"{text}" is not a valid port number or address:port pair.')
    host = found["host"] or "127.0.0.1"
    return f"{'0.0.0.0' if host == '0' else host}:{found['port']}"


def _parsed(option: Option) -> dict[str, Any]:
    """How the parser takes an option. `prefork serve` reads the value."""
    text = option.meaning.replace("%", "%%")
    if isinstance(option.default, bool):
        return {"action": argparse.BooleanOptionalAction, "help": text}
    choices = option.reader.choices
    shown: dict[str, Any] = {"metavar": f"{{{','.join(choices)}}}" if choices else option.reader.metavar}
    if isinstance(option.default, tuple):
        return shown | {"action": "append", "help": text}
    return shown | {"help": text}


def _flags(options: dict[str, Any]) -> Iterator[str]:
    """The options that were given, as flags of `prefork serve`."""
    for name in SOURCES:
        if (given := options[name]) is not None:
            yield from (f"--{name.replace('_', '-')}={value}" for value in _listed(given))
    for option in EXTERNAL.values():
        match options.get(f"{PREFIX}{option.key}"):
            case None:
                continue
            case True:
                yield option.flag
            case False:
                yield f"--no-{option.flag[2:]}"
            case given:
                yield from (f"{option.flag}={value}" for value in _listed(given))


def _listed(given: str | list[str]) -> list[str]:
    return given if isinstance(given, list) else [given]
