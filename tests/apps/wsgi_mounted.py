"""Responds with where it is mounted, the path behind that, and its process.

It is an application (`app`), a factory of one (`create`), and a program that serves it by itself.
"""

from __future__ import annotations

import os

import prefork


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']} from {os.getpid()}".encode()]


def create():
    return app


if __name__ == "__main__":
    prefork.run(app, bind="127.0.0.1:0", workers=1)
