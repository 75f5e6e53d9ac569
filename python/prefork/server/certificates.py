"""The certificate and the key of a server: from files to what its listeners need.

Always: an error is an OptionError, in one line that names the file and never its content.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefork._engine import TlsConfig
from prefork.errors import OptionError

if TYPE_CHECKING:
    from prefork.config.options import ServerOptions


def read_certificate(options: ServerOptions) -> TlsConfig | None:
    """None: the server speaks plain HTTP. Raises OptionError."""
    if options.tls_cert is None:
        return None
    key = options.tls_key or options.tls_cert
    try:
        return TlsConfig(_read(options.tls_cert), _read(key))
    except ValueError as error:
        raise OptionError(f"cannot use certificate {options.tls_cert} with key {key}: {error}") from None


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from None
