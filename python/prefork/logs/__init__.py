"""The log, the access log, and lines on standard output."""

from prefork.logs.logger import adopt_loggers

adopt_loggers()
