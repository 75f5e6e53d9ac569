"""An application that configures logging as its documentation shows it, when the parameter `when` says.

`disable_existing_loggers` is true unless it is set.
"""

from __future__ import annotations

import logging.config

from parameters import PARAMETERS

CONFIGURATION = {
    "version": 1,
    "formatters": {"short": {"format": "SHOP %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}


def configure(when):
    if PARAMETERS["when"] == when:
        logging.config.dictConfig(CONFIGURATION)


configure("import")


def wsgi(environ, start_response):
    configure("request")
    raise KeyError("the bug")


def create():
    configure("factory")
    return wsgi


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        configure("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    configure("request")
    raise KeyError("the bug")
