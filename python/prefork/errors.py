"""Every error that prefork raises.

The message of each is one line: what was expected, what was given and what to do. The command line prints it
and exits with status 2. A program that imports prefork catches the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class PreforkError(Exception):
    """Base class of all errors below."""

    exit_status = 2
    """Of a program that ends with it: a wrong use, or a startup that can never succeed."""


class OptionError(PreforkError, ValueError):
    """An invalid option, handler entry or setting."""


class TargetError(PreforkError):
    """`prefork serve TARGET` does not name an application, a server or a Kernel."""


class BindError(PreforkError):
    """The server cannot listen on the address."""

    @classmethod
    def from_refusal(cls, place: object, error: OSError, advice: Mapping[int, str]) -> BindError:
        """What the system says about an address, and what to do about it."""
        hint = advice.get(error.errno or 0)
        return cls(f"cannot listen on {place}: {error.strerror or error}" + (f"; {hint}" if hint else ""))


class GlueInUse(PreforkError):
    """Another manager uses this `ipc_glue`. The message names its pid."""


class ScoreboardUnavailable(PreforkError):
    """The shared memory of the scoreboard cannot be created or opened."""


class NeverReady(PreforkError):
    """No worker has ever started, and it was tried `boot_failures` times."""

    exit_status = 3


class NotUpgraded(PreforkError):
    """No other manager can take the place of this one, or not now."""


class OutOfResources(PreforkError):
    """The system refuses a new worker what it needs: a descriptor, memory or a thread."""

    @classmethod
    def from_refusal(cls, error: OSError) -> OutOfResources:
        """What to do about an error of the system."""
        return cls(
            f"the system refuses it a descriptor, memory or a thread ({error.strerror or error}): "
            "raise its limits (ulimit -n, ulimit -u, pids.max and memory.max of the cgroup)"
        )


class SandboxIncomplete(PreforkError):
    """`--sandbox required`, and the system cannot take all of it from a worker."""

    exit_status = 3


class NotInThisProcess(PreforkError, RuntimeError):
    """A call that is only possible in the manager, or only in a worker."""


class UnknownSession(PreforkError, LookupError):
    """There is no session with that alias."""


class UnknownEvent(PreforkError, LookupError):
    """The session has no event of that name."""


class WrongArguments(PreforkError, TypeError):
    """An event of a server was given arguments that it does not take."""


class AlreadyAnswered(PreforkError, RuntimeError):
    """The response has been sent already. A request has one response."""


class InvalidResponse(PreforkError, ValueError):
    """A status, header field or content that cannot be sent (RFC 9110, section 5)."""


class LifespanFailed(PreforkError):
    """An ASGI application reported a failed startup, or does not support lifespan with `--lifespan on`."""


class NotReady(PreforkError):
    """The application does not respond to `--ready-path`, or with a status of 500 or more."""


class ConnectionGone(PreforkError, ConnectionError):
    """The client disconnected before the response could be sent."""


class RequestTimeout(BaseException):
    """Raised in the code of an application that blocks its worker for longer than `request_timeout` or
    `heartbeat_timeout`, so that its `finally` clauses run. The client has its response already, and the
    worker ends. As `asyncio.CancelledError`, it is no `Exception`.
    """
