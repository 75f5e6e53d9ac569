"""Serves WSGI and ASGI applications."""
