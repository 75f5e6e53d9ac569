"""understudy: a preforking HTTP server whose requests are events posted to sessions.

Everything that a program imports is here.
"""

from understudy._engine import Connection, Headers, Request, Response
from understudy.errors import (
    AlreadyAnswered,
    BindError,
    ConnectionGone,
    GlueInUse,
    InvalidResponse,
    LifespanFailed,
    NotInThisProcess,
    OptionError,
    ScoreboardUnavailable,
    TargetError,
    UnderstudyError,
    UnknownEvent,
    UnknownSession,
)
from understudy.forms import Upload
from understudy.kernel import Kernel
from understudy.prefork.server import PreForkServer
from understudy.running import run
from understudy.server import HTTPServer
from understudy.session import Session, event
from understudy.timer import Timer

__all__ = [
    "AlreadyAnswered",
    "BindError",
    "Connection",
    "ConnectionGone",
    "GlueInUse",
    "HTTPServer",
    "Headers",
    "InvalidResponse",
    "Kernel",
    "LifespanFailed",
    "NotInThisProcess",
    "OptionError",
    "PreForkServer",
    "Request",
    "Response",
    "ScoreboardUnavailable",
    "Session",
    "TargetError",
    "Timer",
    "UnderstudyError",
    "UnknownEvent",
    "UnknownSession",
    "Upload",
    "event",
    "run",
]
