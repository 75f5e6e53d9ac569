"""The directory of a user in which the control sockets of running pools are.

Always: it belongs to this user, no other user may enter it, and no symbolic link leads to it. What dead
managers have left there is removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from prefork.server.unix_sockets import remove_stale

NAME = "prefork"
SUFFIX = ".sock"
MOST_LEFT = 256
"""How many files of dead managers one start removes."""


class Unusable(Exception):
    """Why a directory cannot be used."""


def find_run_directory() -> str:
    """Returns its path, and makes it if there is none. Raises Unusable if the user can have none."""
    reasons = []
    for path, parent in _candidates():
        try:
            _make(path, parent)
        except (OSError, Unusable) as error:
            reasons.append(f"{path}: {error.strerror if isinstance(error, OSError) else error}")
        else:
            return path
    raise Unusable("; ".join(reasons))


def _candidates() -> Iterator[tuple[str, str]]:
    """Directories, the best one first, and the one that each is made in."""
    uid = os.geteuid()
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given):
        yield os.path.join(given, NAME), given
    yield f"/run/user/{uid}/{NAME}", f"/run/user/{uid}"
    yield f"/tmp/{NAME}-{uid}", "/tmp"


def _make(path: str, parent: str) -> None:
    uid = os.geteuid()
    above = os.stat(parent)
    if above.st_uid not in (uid, 0) or (above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX):
        raise Unusable("another user may replace it")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(directory)
        if found.st_uid != uid:
            raise Unusable("it belongs to another user")
        if found.st_mode & 0o077 or found.st_mode & 0o700 != 0o700:
            os.fchmod(directory, 0o700)
    finally:
        os.close(directory)


def sweep(directory: str) -> None:
    """Removes the sockets of dead managers."""
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
        for name in names[:MOST_LEFT]:
            remove_stale(os.path.join(directory, name))
