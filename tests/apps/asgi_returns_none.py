"""An ASGI application that is no coroutine function."""


def app(scope, receive, send):
    return None
