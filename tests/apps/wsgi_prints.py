"""Writes to standard output and to `wsgi.errors`."""

from __future__ import annotations


def app(environ, start_response):
    print("on standard output")
    print("on wsgi.errors", file=environ["wsgi.errors"])
    start_response("204 No Content", [])
    return []
