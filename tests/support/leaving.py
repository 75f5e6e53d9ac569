"""How a client leaves. To the server, a close looks like the end of what the client sends, and no more."""

from __future__ import annotations

import asyncio
import socket
import struct


def reset(sock: socket.socket) -> None:
    """Close with a RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def reset_stream(writer: asyncio.StreamWriter) -> None:
    """The same, for a client in an asyncio loop."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
