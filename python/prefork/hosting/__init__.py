"""Applications that others wrote, on our pool: WSGI and ASGI."""
