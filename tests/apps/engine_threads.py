"""Responds from other threads than the loop's."""

from __future__ import annotations

import asyncio
import threading

from prefork import HTTPServer, Kernel, Session, event

kernel = Kernel()
names = ("respond", "stream", "drop", "close")
handlers = [{"dir": f"^/{name}", "session": "THREADS", "event": name} for name in names]
server = HTTPServer(kernel, handlers=handlers)
release = threading.Event()


@server.handle(r"^/release$")
def let_go():
    release.set()
    return "released"


@server.handle(r"^/executor$")
async def executor(response):
    response.content = "from an executor"
    await asyncio.get_running_loop().run_in_executor(None, response.done)


def in_a_thread(function):
    def run():
        release.wait(10)
        function()

    threading.Thread(target=run, daemon=True).start()


class Threads(Session):
    alias = "THREADS"

    @event
    def respond(self, request, response, pattern):
        response.content = "from a thread"
        in_a_thread(response.done)

    @event
    def stream(self, request, response, pattern):
        def work():
            for number in range(5):
                response.write(f"{number}")
            response.done()

        in_a_thread(work)

    @event
    def drop(self, request, response, pattern):
        kept = [response]
        in_a_thread(kept.clear)

    @event
    def close(self, request, response, pattern):
        in_a_thread(response.close)


kernel.add(Threads())
