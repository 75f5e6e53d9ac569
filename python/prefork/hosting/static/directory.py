"""The files below one directory, as responses.

Owns the open files. Always: nothing outside of the directory is sent, and nothing hidden; whether a file has
changed is checked before it is sent. What does not exist is a 404.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from prefork._engine import FilePart, Headers
from prefork.errors import ConnectionGone
from prefork.hosting.static.media_types import content_type
from prefork.hosting.static.negotiation import (
    best_coding,
    precondition,
    range_applies,
    selected_ranges,
)
from prefork.logs.logger import concerning

if TYPE_CHECKING:
    from prefork._engine import Request, Response

logger = logging.getLogger("prefork.server")

CODINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""The endings of a file's compressed siblings, the best coding first."""

INDEX = "index.html"
MAX_OPEN = 128
"""How many files of a directory stay open, each with its siblings."""
SIBLINGS_VALID_S = 1.0
"""How long a file is assumed to have no other siblings."""

ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO}
"""ENXIO is a socket: it cannot be read as a file."""
FORBIDDEN = {errno.EACCES, errno.EPERM}

Stamp = tuple[int, int, int, int]


class OpenFile(NamedTuple):
    """An open file, as it was when it was opened."""

    path: str
    stamp: Stamp
    part: FilePart
    tag: str
    modified_s: int
    headers: Headers
    headers_304: Headers
    """What a 304 updates in the client's copy; nothing about its bytes (RFC 9110, 15.4.5)."""

    def is_current(self) -> bool:
        try:
            return stamp_of(os.stat(self.path)) == self.stamp
        except OSError:
            return False


class Resource(NamedTuple):
    """A file and its compressed siblings."""

    plain: OpenFile
    coded: dict[str, OpenFile]
    codings: tuple[str, ...]
    opened_s: float

    def choose(self, request: Request) -> OpenFile:
        """The file or sibling that the client prefers."""
        if self.coded and (accepted := field_list(request, "Accept-Encoding")) is not None:
            coding = best_coding(accepted, self.codings)
            if coding is not None:
                return self.coded[coding]
        return self.plain


class Refused(Exception):
    """There is no file to send, but an error or a redirect."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.text = f"{status} {text}"
        self.headers = {"Content-Type": "text/plain"} | (headers or {})


class Directory:
    """The files below one directory."""

    def __init__(
        self,
        root: str,
        *,
        fallback: str | None = None,
        lifetime: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """`fallback` is the name of the file that is sent instead of a page that does not exist. `lifetime`
        gives the Cache-Control of a file by its name."""
        self._root = os.path.join(os.path.realpath(root), "")
        self._fallback = fallback
        self._lifetime = lifetime
        self._open: dict[str, Resource] = {}

    def respond(self, request: Request, response: Response, name: str | None) -> None:
        """Sends the file of that name; None is the directory itself, without a slash."""
        try:
            method = request.method
            if method != "GET" and method != "HEAD":
                raise Refused(405, "Method Not Allowed", {"Allow": "GET, HEAD"})
            if name is None:
                raise redirect_to_directory(request)
            fill(request, response, self._find_page(name, request))
        except Refused as refused:
            response.code = refused.status
            response.headers = refused.headers
            response.content = refused.text
        except ConnectionGone:
            return  # the error hook was called when the connection closed
        response.done()

    def _find_page(self, name: str, request: Request) -> OpenFile:
        """The file of that name, or the fallback instead of a page that does not exist. Raises Refused."""
        try:
            return self._find(name, request)
        except Refused as refused:
            if refused.status != 404 or self._fallback is None or not names_page(name, request):
                raise
            return self._find(self._fallback, request)

    def _find(self, name: str, request: Request) -> OpenFile:
        """The file of that name that the client prefers, as it is now. Raises Refused."""
        resource = self._open.get(name)
        if resource is not None and time.monotonic() - resource.opened_s < SIBLINGS_VALID_S:
            stored = resource.choose(request)
            if stored.is_current():
                return stored
        self._open.pop(name, None)
        try:
            resource = self._open_resource(name, request)
        except OSError as error:
            raise self._refused(name, error, request) from None
        if len(self._open) >= MAX_OPEN:
            del self._open[next(iter(self._open))]
        self._open[name] = resource
        return resource.choose(request)

    def _open_resource(self, name: str, request: Request) -> Resource:
        """Opens a file and its siblings. Raises OSError and Refused."""
        if is_hidden(name):
            raise Refused(404, "Not Found")
        is_directory = not name or name.endswith("/")
        path = self._root + name + (INDEX if is_directory else "")
        plain = self._open_file(path)
        if plain is None:
            raise Refused(404, "Not Found") if is_directory else redirect_to_directory(request)
        coded = {}
        # What is compressed already has no siblings.
        codings = {} if "Content-Encoding" in plain.headers else CODINGS
        for coding, ending in codings.items():
            with contextlib.suppress(OSError, Refused):
                sibling = self._open_file(path + ending, coding)
                if sibling is not None:
                    coded[coding] = sibling
        if coded:
            for stored in (plain, *coded.values()):
                stored.headers["Vary"] = stored.headers_304["Vary"] = "Accept-Encoding"
        return Resource(plain, coded, tuple(coded), time.monotonic())

    def _open_file(self, path: str, coding: str | None = None) -> OpenFile | None:
        """An open file; None for a directory. Raises OSError and Refused."""
        # Opening must not wait for a pipe, nor make a terminal the controlling one.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(fd)
            # Where links lead is read from the open descriptor: that cannot be replaced any more.
            place = os.readlink(f"/proc/self/fd/{fd}")
            if not place.startswith(self._root) or is_hidden(place[len(self._root) :]):
                raise Refused(404, "Not Found")
            if stat.S_ISDIR(status.st_mode):
                return None
            if not stat.S_ISREG(status.st_mode):
                raise Refused(404, "Not Found")
            part = FilePart(fd)
        finally:
            os.close(fd)
        tag = f'"{status.st_mtime_ns:x}-{len(part):x}{"-" + coding if coding else ""}"'
        validators = {"ETag": tag, "Last-Modified": formatdate(status.st_mtime, usegmt=True)}
        plain = path.removesuffix(CODINGS[coding]) if coding else path
        lifetime = self._lifetime(plain.removeprefix(self._root))
        if lifetime is not None:
            validators["Cache-Control"] = lifetime
        fields = {
            "Content-Type": content_type(plain),
            **validators,
            "Accept-Ranges": "bytes",
        }
        if coding is None and path.endswith(".svgz"):
            coding = "gzip"
        if coding is not None:
            fields["Content-Encoding"] = coding
        return OpenFile(
            path,
            stamp=stamp_of(status),
            part=part,
            tag=tag,
            modified_s=int(status.st_mtime),
            headers=Headers(fields),
            headers_304=Headers(validators),
        )

    def _refused(self, name: str, error: OSError, request: Request) -> Refused:
        if error.errno in ABSENT:
            return Refused(404, "Not Found")
        if error.errno in FORBIDDEN:
            return Refused(403, "Forbidden")
        about = concerning(request)
        logger.error("static file %s%s cannot be sent: %s", self._root, name, error.strerror, extra=about)
        return Refused(500, "Internal Server Error")


def fill(request: Request, response: Response, stored: OpenFile) -> None:
    """Fills the response with the part of a file that the request selects. Raises Refused."""
    header = request.header
    status = precondition(
        field_list(request, "If-Match"),
        header("If-Unmodified-Since"),
        field_list(request, "If-None-Match"),
        header("If-Modified-Since"),
        stored.tag,
        stored.modified_s,
    )
    if status == 412:
        raise Refused(412, "Precondition Failed")
    response.code = status
    response.headers = stored.headers_304 if status == 304 else stored.headers
    if status == 304:
        return
    response.content = stored.part
    wanted = header("Range")
    if wanted is None or request.method != "GET":
        return
    if range_applies(header("If-Range"), stored.tag, stored.modified_s):
        fill_range(response, stored.part, wanted)


def fill_range(response: Response, part: FilePart, wanted: str) -> None:
    """Makes it the response to a Range field. Raises Refused."""
    size = len(part)
    found = selected_ranges(wanted, size)
    if found is None:
        return
    if not found:
        raise Refused(416, "Range Not Satisfiable", {"Content-Range": f"bytes */{size}"})
    if len(found) > 1 and response.header("Content-Encoding") is not None:
        return  # a client would decode the whole message, and its parts are coded
    response.code = 206
    if len(found) > 1:
        write_ranges(response, part, found)
        return
    first, length = found[0]
    response.header("Content-Range", content_range(first, length, size))
    response.content = part.part(first, length)


def write_ranges(response: Response, whole: FilePart, ranges: list[tuple[int, int]]) -> None:
    """Sends several ranges (RFC 9110, 14.6). Raises ConnectionGone."""
    boundary = os.urandom(10).hex()
    kind = response.content_type
    parts: list[bytes | FilePart] = []
    for first, length in ranges:
        place = content_range(first, length, len(whole))
        head = f"\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {place}\r\n\r\n"
        parts += [head.encode("latin-1"), whole.part(first, length)]
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    response.content_type = f"multipart/byteranges; boundary={boundary}"
    response.header("Content-Length", str(sum(map(len, parts))))
    response.content = None
    for part in parts:
        response.write(part)


def content_range(first: int, length: int, size: int) -> str:
    """The Content-Range of a part (RFC 9110, 14.4)."""
    return f"bytes {first}-{first + length - 1}/{size}"


def names_page(name: str, request: Request) -> bool:
    """Whether a page is asked for and not one of its files: scripts and images have an ending, and a browser
    that opens a page asks for HTML."""
    if is_hidden(name):
        return False
    is_file = "." in name.rpartition("/")[2]
    return not is_file or "text/html" in request.header("Accept", "")


def field_list(request: Request, name: str) -> str | None:
    """A field that is a list, all its lines joined (RFC 9110, 5.3); None if there is none."""
    first = request.header(name)
    return None if first is None else ", ".join(request.headers.get_all(name))


def redirect_to_directory(request: Request) -> Refused:
    """A redirect to the same path with a slash.

    Location has only the last segment, because a proxy may have removed what the client sees before it, and
    has it as it came, so that no decoding can lead elsewhere.
    """
    segment = request.raw_path.decode("latin-1").rpartition("/")[2]
    here = "./" if ":" in segment else ""  # or it would be a scheme (RFC 3986, 4.2)
    query = f"?{request.query}" if request.query else ""
    return Refused(301, "Moved Permanently", {"Location": f"{here}{segment}/{query}"})


def is_hidden(name: str) -> bool:
    """Whether a part of the path begins with a dot, is empty, or cannot be the name of a file."""
    return name.startswith((".", "/")) or "/." in name or "//" in name or "\0" in name


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
