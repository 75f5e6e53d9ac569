"""Logs through a queue, whose listener is started when the application is loaded."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import QueueHandler, QueueListener
from queue import Queue

queue: Queue[object] = Queue()
writer = logging.StreamHandler(sys.stderr)
writer.setFormatter(logging.Formatter("queued %(process)d %(message)s"))
listener = QueueListener(queue, writer)
listener.start()
log = logging.getLogger("shop")
log.addHandler(QueueHandler(queue))
log.setLevel(logging.INFO)
log.propagate = False
log.info("loaded")


def app(environ, start_response):
    log.info("served %s", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()}".encode()]
