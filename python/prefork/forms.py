"""What a browser's form sends: `Request.form()` and `Request.authorization_basic`."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

MAX_FIELDS = 10_000
"""More than a person fills in. A field costs a multiple of its bytes, so the number is limited too."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form (RFC 7578). `filename` comes from the client: never use it as a path."""

    filename: str
    content_type: str
    content: bytes


def parse(content_type: str | None, content: bytes) -> dict[str, list[str | Upload]]:
    """The fields of a form, each with all its values, in order.

    Takes application/x-www-form-urlencoded (WHATWG URL, 5) and multipart/form-data (RFC 7578), both in UTF-8.
    Raises ValueError for any other type and for a body that is not what its type says.
    """
    # Imported only for a form: these cost every process a megabyte.
    from email.message import Message
    from urllib.parse import parse_qs

    message = Message()
    message["Content-Type"] = content_type or ""
    kind = message.get_content_type() if content_type else None
    if kind == "application/x-www-form-urlencoded":
        found = parse_qs(content.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        return {name: list(values) for name, values in found.items()}
    if kind == "multipart/form-data":
        boundary = message.get_param("boundary")
        if not isinstance(boundary, str) or not boundary:
            raise ValueError("a multipart form without a boundary")
        return _multipart(boundary.encode("latin-1"), content)
    raise ValueError(f"expected a form, urlencoded or multipart, got {content_type or 'no Content-Type'}")


def _multipart(boundary: bytes, content: bytes) -> dict[str, list[str | Upload]]:
    from email.parser import HeaderParser

    # RFC 2046, 5.1.1: CRLF belongs to the delimiter; the first one may open the body.
    pieces = (b"\r\n" + content).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("a multipart form that does not end with its boundary")
    if len(pieces) > MAX_FIELDS + 2:
        raise ValueError(f"a multipart form of more than {MAX_FIELDS} parts")
    fields: dict[str, list[str | Upload]] = {}
    for piece in pieces[1:-1]:
        head, separator, value = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        part = HeaderParser().parsestr(head.decode())  # names are UTF-8, not encoded (RFC 7578, 5.1)
        name = part.get_param("name", header="Content-Disposition")
        if not separator or not isinstance(name, str):
            raise ValueError("a part of a multipart form without a name")
        filename = part.get_filename()
        if filename is None:
            fields.setdefault(name, []).append(value.decode())
        else:
            fields.setdefault(name, []).append(Upload(filename, part.get_content_type(), value))
    return fields


def basic_credentials(authorization: str | None) -> tuple[str, str] | None:
    """User and password of an Authorization field, or None if it has no valid Basic ones (RFC 7617)."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None
