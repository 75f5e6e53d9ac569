"""A forward proxy.

    prefork serve examples/proxy.py
    curl -x http://127.0.0.1:8000 http://example.com/

Bodies pass through in parts, both ways: what the client does not read is not read from the upstream server.
"""

import asyncio
from urllib.parse import urlsplit

from prefork import HTTPServer, Kernel

HOP_BY_HOP = (
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer upgrade"
)

kernel = Kernel()
server = HTTPServer(kernel, proxy_mode=True)


def passed_on(fields):
    """Header fields without those of one connection (RFC 9110, section 7.6.1)."""
    fields = list(fields)
    named = [
        word.strip() for name, value in fields if name.lower() == "connection" for word in value.split(",")
    ]
    ours = {"transfer-encoding", *HOP_BY_HOP.split(), *map(str.lower, named)}
    return [(name, value) for name, value in fields if name.lower() not in ours] + [("Via", "1.1 prefork")]


async def send(request, url, writer):
    # HTTP/1.0 has no chunks and no interim responses: a head comes back, and a body until the end.
    target = url._replace(scheme="", netloc="", path=url.path or "/", fragment="").geturl()
    lines = [f"{request.method} {target} HTTP/1.0"]
    lines += [f"{name}: {value}" for name, value in passed_on(request.headers.items())]
    if request.header("transfer-encoding"):
        lines.append(f"Content-Length: {request.content_length}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    with request.body as body:
        while part := body.read(65536):
            writer.write(part)
            await writer.drain()


async def receive_head(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")[:-2]
    fields = [line.split(":", 1) for line in lines]
    return int(status.split()[1]), [(name, value.strip()) for name, value in fields]


@server.handle("^http://")
async def forward(request, response):
    url = urlsplit(request.uri)
    writer = None
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
        await send(request, url, writer)
        response.code, fields = await receive_head(reader)
        response.headers = passed_on(fields)
        while part := await reader.read(65536):
            yield part
    except (OSError, EOFError, ValueError, IndexError) as error:
        if response.streaming:
            raise  # too late for a 502: the connection is closed, and the client sees an incomplete body
        response.code = 502
        response.headers = {}
        yield f"{url.netloc} did not respond: {error}\n"
    finally:
        if writer is not None:
            writer.close()


@server.handle("")
def refuse(response):
    response.code = 501
    return "This proxy speaks http:// only.\n"
