"""A class whose instances are the responses."""

from __future__ import annotations


class Page:
    def __init__(self, environ, start_response):
        start_response("200 OK", [])
        self.path = environ["PATH_INFO"]

    def __iter__(self):
        yield self.path.encode()


app = Page
