"""Two ways to stream: by events, and by a generator.

    prefork serve examples/stream.py
    curl -N http://127.0.0.1:8000/countdown
    curl -N http://127.0.0.1:8000/clock
    curl -N http://127.0.0.1:8000/source

Both make the next part when the one before has left the process. A client that reads slowly is served slowly
and costs the memory of one part. When it leaves, the generator ends.
"""

import asyncio
import time

from prefork import HTTPServer, Kernel, Session, event


class Countdown(Session):
    alias = "COUNTDOWN"

    @event
    def start(self, _request, response, _pattern):
        response.stream("COUNTDOWN", "go_on")
        response.content = "3\n"
        self.kernel.post("HTTPD", "STREAM", response)

    @event
    def go_on(self, response):
        """The part has left. Its content says what comes next."""
        left = int(response.content) - 1
        if left < 0:
            self.kernel.post("HTTPD", "DONE", response)
        else:
            response.content = f"{left}\n"
            self.kernel.delay(0.2, "HTTPD", "STREAM", response)


kernel = Kernel()
kernel.add(Countdown())
server = HTTPServer(kernel, handlers=[{"dir": "^/countdown$", "session": "COUNTDOWN", "event": "start"}])


@server.handle("^/clock$")
async def clock(response):
    """Server-sent events, as a browser's EventSource reads them."""
    response.content_type = "text/event-stream"
    while True:
        yield f"data: {time.ctime()}\n\n"
        await asyncio.sleep(1)


@server.handle("^/source$")
def source():
    with open(__file__, "rb") as file:
        while part := file.read(65536):
            yield part
