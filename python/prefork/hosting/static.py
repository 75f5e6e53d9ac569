"""Directories whose files are served in front of an application, and never by it.

Owns the open files. Always: nothing outside of a directory is sent and nothing hidden; a file is asked
whether it changed before it is sent. What is not there is a 404: below a directory's prefix the application
is not asked.
"""

from __future__ import annotations

import contextlib
import errno
import mimetypes
import os
import stat
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote

from prefork._engine import FilePart, Headers
from prefork.hosting.selection import UNSATISFIABLE, best_coding, precondition, range_applies, single_range
from prefork.server.service import Service, logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prefork._engine import Request, Response
    from prefork.server.server import HTTPServer

CODINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""What a compressed sibling of a file is called, the best first."""

INDEX = "index.html"
MOST_OPEN = 128
"""So many files of a directory stay open, each with its siblings."""
LOOK_S = 1.0
"""How long it is believed that a file has no other siblings."""

ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO}
"""ENXIO is a socket: no file that could be read, as a pipe is none."""
FORBIDDEN = {errno.EACCES, errno.EPERM}

TYPES = mimetypes.MimeTypes()  # its own tables: what is sent does not depend on the machine
for _type, _ending in (
    ("text/javascript", ".js"),
    ("text/javascript", ".mjs"),
    ("text/markdown", ".md"),
    ("application/wasm", ".wasm"),
    ("application/manifest+json", ".webmanifest"),
    ("font/woff2", ".woff2"),
    ("font/woff", ".woff"),
    ("font/ttf", ".ttf"),
    ("font/otf", ".otf"),
    ("image/webp", ".webp"),
    ("image/avif", ".avif"),
    ("image/jxl", ".jxl"),
    ("image/apng", ".apng"),
    ("image/svg+xml", ".svg"),
    ("image/svg+xml", ".svgz"),
    ("image/x-icon", ".ico"),
    ("audio/ogg", ".ogg"),
    ("audio/ogg", ".oga"),
    ("audio/mp4", ".m4a"),
    ("audio/flac", ".flac"),
    ("video/ogg", ".ogv"),
    ("video/mp4", ".m4v"),
    ("application/json", ".map"),
):
    TYPES.add_type(_type, _ending)

TYPES.suffix_map.pop(".svgz", None)  # it is an image, sent as such; an archive stays what it is

COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}

Stamp = tuple[int, int, int, int]


class Stored(NamedTuple):
    """A file that is open, as it was when it was opened."""

    path: str
    stamp: Stamp
    part: FilePart
    tag: str
    modified_s: int
    headers: Headers
    kept: Headers
    """Those of a 304: what is new about the copy the client has, and nothing about its bytes (15.4.5)."""

    def is_current(self) -> bool:
        try:
            return stamp_of(os.stat(self.path)) == self.stamp
        except OSError:
            return False


class Resource(NamedTuple):
    """A file and its compressed siblings."""

    plain: Stored
    coded: dict[str, Stored]
    codings: tuple[str, ...]
    looked_s: float

    def choose(self, request: Request) -> Stored:
        """What of it the client likes best."""
        if self.coded and (liked := listed(request, "Accept-Encoding")) is not None:
            coding = best_coding(liked, self.codings)
            if coding is not None:
                return self.coded[coding]
        return self.plain


class Refused(Exception):
    """Instead of a file: a status, and where to go for 301."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.text = f"{status} {text}"
        self.headers = {"Content-Type": "text/plain"} | (headers or {})


class Mounts:
    """A service with directories in front of it. What is not theirs is its business, as is all else."""

    def __init__(self, service: Service, directories: Iterable[tuple[str, str]]) -> None:
        self._service = service
        # The longest prefix first: it is the one that was meant.
        found = [(f"{prefix}/", Directory(root)) for prefix, root in directories]
        self._directories = sorted(found, key=lambda entry: len(entry[0]), reverse=True)
        self._proxies = service.server.options.proxy_mode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def request(self, request: Request, response: Response) -> None:
        """A whole request."""
        if not self._serve(request, response):
            self._service.request(request, response)

    def head(self, request: Request, response: Response) -> bool:
        """A request whose body is still to come: no file wants that."""
        return not self._serve(request, response) and self._service.head(request, response)

    def _serve(self, request: Request, response: Response) -> bool:
        path = request.path
        if self._proxies:
            # The target as it came; that of a request for another server begins with no slash.
            path = unquote(path.partition("?")[0], errors="replace")
        for prefix, directory in self._directories:
            if path.startswith(prefix):
                name = path[len(prefix) :]
            elif path == prefix[:-1]:
                name = None
            else:
                continue
            self._service.announce(request)
            directory.answer(request, response, name)
            return True
        return False


def mount(server: HTTPServer, directories: Iterable[tuple[str, str]]) -> None:
    """Has `server` serve the files of directories, each below a prefix, and all else as before."""
    server.serve_with(cast(Service, Mounts(server._service, directories)))


class Directory:
    """The files below one directory."""

    def __init__(self, root: str) -> None:
        self._root = os.path.join(os.path.realpath(root), "")
        self._open: dict[str, Resource] = {}

    def answer(self, request: Request, response: Response, name: str | None) -> None:
        """Answers with the file of that name; None is the directory itself, without a slash."""
        try:
            method = request.method
            if method != "GET" and method != "HEAD":
                raise Refused(405, "Method Not Allowed", {"Allow": "GET, HEAD"})
            if name is None:
                raise moved(request)
            fill(request, response, self._find(name, request))
        except Refused as refused:
            response.code = refused.status
            response.headers = refused.headers
            response.content = refused.text
        response.done()

    def _find(self, name: str, request: Request) -> Stored:
        """The file of that name as the client likes it best, and as it is now. Raises Refused."""
        resource = self._open.get(name)
        if resource is not None and time.monotonic() - resource.looked_s < LOOK_S:
            stored = resource.choose(request)
            if stored.is_current():
                return stored
        self._open.pop(name, None)
        try:
            resource = self._look(name, request)
        except OSError as error:
            raise self._refused(name, error) from None
        if len(self._open) >= MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[name] = resource
        return resource.choose(request)

    def _look(self, name: str, request: Request) -> Resource:
        """Opens a file and its siblings. Raises OSError and Refused."""
        if is_hidden(name):
            raise Refused(404, "Not Found")
        within = not name or name.endswith("/")
        path = self._root + name + (INDEX if within else "")
        plain = self._store(path)
        if plain is None:
            raise Refused(404, "Not Found") if within else moved(request)
        coded = {}
        # What is compressed already has no siblings.
        codings = {} if "Content-Encoding" in plain.headers else CODINGS
        for coding, ending in codings.items():
            with contextlib.suppress(OSError, Refused):
                sibling = self._store(path + ending, coding)
                if sibling is not None:
                    coded[coding] = sibling
        if coded:
            for stored in (plain, *coded.values()):
                stored.headers["Vary"] = stored.kept["Vary"] = "Accept-Encoding"
        return Resource(plain, coded, tuple(coded), time.monotonic())

    def _store(self, path: str, coding: str | None = None) -> Stored | None:
        """An open file; None for a directory. Raises OSError and Refused."""
        # A pipe is not waited for, and a terminal gets no say.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(fd)
            # Where links have led to is asked of what is open: it cannot be exchanged any more.
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
        kept = {"ETag": tag, "Last-Modified": formatdate(status.st_mtime, usegmt=True)}
        fields = {
            "Content-Type": content_type(path.removesuffix(CODINGS[coding]) if coding else path),
            **kept,
            "Accept-Ranges": "bytes",
        }
        if coding is None and path.endswith(".svgz"):
            coding = "gzip"
        if coding is not None:
            fields["Content-Encoding"] = coding
        return Stored(path, stamp_of(status), part, tag, int(status.st_mtime), Headers(fields), Headers(kept))

    def _refused(self, name: str, error: OSError) -> Refused:
        if error.errno in ABSENT:
            return Refused(404, "Not Found")
        if error.errno in FORBIDDEN:
            return Refused(403, "Forbidden")
        logger.error("static file %s%s cannot be sent: %s", self._root, name, error.strerror)
        return Refused(500, "Internal Server Error")


def fill(request: Request, response: Response, stored: Stored) -> None:
    """Puts into the response what the request asks for of a file. Raises Refused."""
    header = request.header
    status = precondition(
        listed(request, "If-Match"),
        header("If-Unmodified-Since"),
        listed(request, "If-None-Match"),
        header("If-Modified-Since"),
        stored.tag,
        stored.modified_s,
    )
    if status == 412:
        raise Refused(412, "Precondition Failed")
    response.code = status
    response.headers = stored.kept if status == 304 else stored.headers
    if status == 304:
        return
    response.content = stored.part
    asked = header("Range")
    if asked is None or request.method != "GET":
        return
    if range_applies(header("If-Range"), stored.tag, stored.modified_s):
        cut(response, stored.part, asked)


def cut(response: Response, part: FilePart, asked: str) -> None:
    """Makes it the answer to a Range field. Raises Refused."""
    size = len(part)
    found = single_range(asked, size)
    if found is None:
        return
    if found == UNSATISFIABLE:
        raise Refused(416, "Range Not Satisfiable", {"Content-Range": f"bytes */{size}"})
    first, length = found
    response.code = 206
    response.header("Content-Range", f"bytes {first}-{first + length - 1}/{size}")
    response.content = part.part(first, length)


def listed(request: Request, name: str) -> str | None:
    """A field that is a list: all lines of it (RFC 9110, 5.3), None if there is none."""
    first = request.header(name)
    return None if first is None else ", ".join(request.headers.get_all(name))


def moved(request: Request) -> Refused:
    """To the same path with a slash. Of the path only its last segment is said, for a proxy may have taken
    off what the client knows before it; and as it came, so that no decoding can lead elsewhere.
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


def content_type(path: str) -> str:
    kind, compressed = TYPES.guess_type(path)
    if compressed:
        return COMPRESSED.get(compressed, "application/octet-stream")
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
