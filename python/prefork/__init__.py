"""prefork: a preforking HTTP server whose requests are events posted to sessions.

Everything that a program imports is here.
"""

import typing as _typing

from prefork._engine import Connection, Headers, Request, Response
from prefork.admin import attach_admin as _attach_admin
from prefork.admin import attach_agent_check as _attach_agent_check
from prefork.admin import attach_control as _attach_control
from prefork.admin import attach_statsd as _attach_statsd
from prefork.errors import (
    AlreadyAnswered,
    BindError,
    ConnectionGone,
    GlueInUse,
    InvalidResponse,
    LifespanFailed,
    NeverReady,
    NotInThisProcess,
    NotReady,
    NotUpgraded,
    OptionError,
    OutOfResources,
    PreforkError,
    RequestTimeout,
    SandboxIncomplete,
    ScoreboardUnavailable,
    TargetError,
    UnknownEvent,
    UnknownSession,
    WrongArguments,
)
from prefork.forms import Upload
from prefork.hosting.background import BackgroundServer, serve
from prefork.hosting.serving import run
from prefork.kernel.events import event
from prefork.kernel.kernel import Kernel, Session
from prefork.kernel.timers import Timer
from prefork.pool.server import PreForkServer
from prefork.server.server import HTTPServer

PreForkServer.attachments += [_attach_control, _attach_admin, _attach_agent_check, _attach_statsd]

__version__: str
"""As it is installed, such as `0.1.0`."""

if not _typing.TYPE_CHECKING:  # for a type checker every name would be there

    def __getattr__(name):
        # What reads the metadata of packages takes two megabytes of each process that imports it.
        if name == "__version__":
            from importlib.metadata import version

            globals()[name] = version("prefork")
            return globals()[name]
        raise AttributeError(f"module 'prefork' has no attribute {name!r}")


__all__ = [
    "AlreadyAnswered",
    "BackgroundServer",
    "BindError",
    "Connection",
    "ConnectionGone",
    "GlueInUse",
    "HTTPServer",
    "Headers",
    "InvalidResponse",
    "Kernel",
    "LifespanFailed",
    "NeverReady",
    "NotInThisProcess",
    "NotReady",
    "NotUpgraded",
    "OptionError",
    "OutOfResources",
    "PreForkServer",
    "PreforkError",
    "Request",
    "RequestTimeout",
    "Response",
    "SandboxIncomplete",
    "ScoreboardUnavailable",
    "Session",
    "TargetError",
    "Timer",
    "UnknownEvent",
    "UnknownSession",
    "Upload",
    "WrongArguments",
    "__version__",
    "event",
    "run",
    "serve",
]
