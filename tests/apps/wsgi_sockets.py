"""A WSGI application that takes connections over as sockets, by the path."""

from __future__ import annotations

import copy
import os
import socket
import time
import warnings

from parameters import PARAMETERS


def echo(environ):
    """Sends back what comes, until the client closes its side."""
    sock = environ["werkzeug.socket"]
    assert sock.gettimeout() is None
    sock.sendall(b"here\n")
    while data := sock.recv(1000):
        sock.sendall(data)


def lines(environ):
    """As `echo`, by a file."""
    with environ["gunicorn.socket"] as sock, sock.makefile("rwb", buffering=0) as file:
        for line in file:
            file.write(line)


def peeks(environ):
    sock = environ["gunicorn.socket"]
    first = sock.recv(2, 2)  # MSG_PEEK
    sock.sendall(first + sock.recv(1) + sock.recv(100))


def reads(environ):
    """Reads two bytes with each method, then three times more by the methods of a plain socket."""
    sock = environ["gunicorn.socket"]
    room = bytearray(2)
    try:
        sock.detach()
    except OSError as error:
        sock.sendall(f"{error}\n".encode())
    for _ in range(2):
        sock.sendall(sock.recvfrom(2)[0])
        for fill in (sock.recv_into, sock.recvfrom_into, lambda buffer: sock.recvmsg_into([buffer])):
            fill(room)
            sock.sendall(room)
        sock.sendall(sock.recvmsg(2)[0])


def detaches(environ):
    with socket.socket(fileno=environ["gunicorn.socket"].detach()) as sock:
        sock.sendall(sock.recv(10))


def closes(environ):
    """Closes its socket, and goes on until the file `go` is there."""
    environ["gunicorn.socket"].sendall(b"bye")
    environ["gunicorn.socket"].close()
    while not os.path.exists(PARAMETERS["go"]):
        time.sleep(0.002)


def stops(environ):
    environ["gunicorn.socket"].sendall(b"stops")
    raise StopIteration


def fails(environ):
    environ["gunicorn.socket"].sendall(b"fails")
    raise ValueError("on purpose")


def forgets(environ):
    """Leaves its socket open."""
    environ["gunicorn.socket"].sendall(b"forgets")


def duplicates(environ):
    """Responds by a socket of its own of the same connection."""
    with environ["gunicorn.socket"].dup() as sock:
        assert sock.gettimeout() is None
        sock.sendall(b"duplicates")


def plain(environ):
    """Does not take it, whatever it looks at."""
    warnings.simplefilter("error")
    copy.copy(environ)
    copy.copy(environ["gunicorn.socket"])
    assert environ["werkzeug.socket"] is environ["gunicorn.socket"]
    assert "socket" in repr(environ).lower()
    return b"plain"


def keys(environ):
    return repr([key for key in environ if key.endswith(".socket")]).encode()


def late(environ, start_response):
    start_response("200 OK", [])(b"begun")
    environ["gunicorn.socket"].sendall(b"too late")


def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    if name == "late":
        return late(environ, start_response)
    if name == "returns":
        environ["gunicorn.socket"].sendall(b"returns")
        return [] if environ["QUERY_STRING"] else None
    body = globals()[name](environ) or b"this is not sent"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return iter([body])
