"""A WSGI application (PEP 3333) without a framework: a page, a form, a stream, a file.

prefork serve examples/wsgi.py --workers 4
"""

import time
from urllib.parse import parse_qs


def app(environ, start_response):
    match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
        case "GET", "/":
            start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"Hello from WSGI, {environ['REMOTE_ADDR']}\n".encode()]
        case "POST", "/greet":
            fields = parse_qs(environ["wsgi.input"].read().decode())
            start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"Hello, {fields.get('name', ['stranger'])[0]}\n".encode()]
        case "GET", "/clock":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return clock()
        case "GET", "/source":
            start_response("200 OK", [("Content-Type", "text/x-python")])
            return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"There is no such page\n"]


def clock():
    """Each part leaves when it is made; the next is made when the client has read it."""
    for _ in range(3):
        yield time.strftime("%H:%M:%S\n").encode()
        time.sleep(0.1)
