"""Every error that prefork raises, in one place.

Each carries one line that says what was expected, what came and what to do.
The command line prints that line and exits with status 2; a program that
imports prefork catches the class.
"""

from __future__ import annotations


class PreforkError(Exception):
    """The root of all of them."""


class OptionError(PreforkError, ValueError):
    """An option, a handler entry or a setting that cannot be used."""


class TargetError(PreforkError):
    """`prefork serve TARGET` does not name something that can be served."""


class BindError(PreforkError):
    """The address cannot be listened on."""


class GlueInUse(PreforkError):
    """Another manager holds this `ipc_glue`; the message names its pid."""


class ScoreboardUnavailable(PreforkError):
    """The shared memory of the scoreboard could not be made or reached."""


class NotInThisProcess(PreforkError, RuntimeError):
    """A call that only another process of the pool may make (manager or worker)."""


class UnknownSession(PreforkError, LookupError):
    """Nobody has that alias."""


class UnknownEvent(PreforkError, LookupError):
    """The session has no event of that name."""


class AlreadyAnswered(PreforkError, RuntimeError):
    """The response was answered before; a request has one answer."""


class InvalidResponse(PreforkError, ValueError):
    """A status, header or content that cannot be sent (RFC 9110, section 5)."""


class LifespanFailed(PreforkError):
    """An ASGI application said that it could not start up, or has no lifespan where one is asked for."""


class ConnectionGone(PreforkError, ConnectionError):
    """The client left before the answer could be sent."""
