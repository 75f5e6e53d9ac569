"""Every error that understudy raises, in one place.

Each carries one line that says what was expected, what came and what to do.
The command line prints that line and exits with status 2; a program that
imports understudy catches the class.
"""

from __future__ import annotations


class UnderstudyError(Exception):
    """The root of all of them."""


class OptionError(UnderstudyError, ValueError):
    """An option, a handler entry or a setting that cannot be used."""


class TargetError(UnderstudyError):
    """`understudy serve TARGET` does not name something that can be served."""


class BindError(UnderstudyError):
    """The address cannot be listened on."""


class GlueInUse(UnderstudyError):
    """Another manager holds this `ipc_glue`; the message names its pid."""


class ScoreboardUnavailable(UnderstudyError):
    """The shared memory of the scoreboard could not be made or reached."""


class NotInThisProcess(UnderstudyError, RuntimeError):
    """A call that only another process of the pool may make (manager or worker)."""


class UnknownSession(UnderstudyError, LookupError):
    """Nobody has that alias."""


class UnknownEvent(UnderstudyError, LookupError):
    """The session has no event of that name."""


class AlreadyAnswered(UnderstudyError, RuntimeError):
    """The response was answered before; a request has one answer."""


class InvalidResponse(UnderstudyError, ValueError):
    """A status, header or content that cannot be sent (RFC 9110, section 5)."""


class LifespanFailed(UnderstudyError):
    """An ASGI application said that it could not start up, or has no lifespan where one is asked for."""


class ConnectionGone(UnderstudyError, ConnectionError):
    """The client left before the answer could be sent."""
