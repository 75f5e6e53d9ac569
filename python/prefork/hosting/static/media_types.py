"""The Content-Type of a file, by its name. What is sent does not depend on the machine's own tables."""

from __future__ import annotations

import mimetypes

TYPES = mimetypes.MimeTypes()
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


def content_type(path: str) -> str:
    """The Content-Type of the file at `path`."""
    kind, compressed = TYPES.guess_type(path)
    if compressed:
        return COMPRESSED.get(compressed, "application/octet-stream")
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
