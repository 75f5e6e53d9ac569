"""Raises what cannot be printed."""

from __future__ import annotations


class Unspeakable(Exception):
    def __repr__(self):
        raise ValueError("it has no words for itself")


def app(environ, start_response):
    raise Unspeakable


async def api(scope, receive, send):
    raise Unspeakable
