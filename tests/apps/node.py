"""A node of a fleet: says its name, after the time that a request asks for."""

import os
import time


def application(environ, start_response):
    environ["wsgi.input"].read()
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["NODE"].encode()]
