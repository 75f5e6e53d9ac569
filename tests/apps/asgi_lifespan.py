"""An application whose lifespan takes the steps that a test gives it, in order, and then returns."""

import asyncio

from parameters import PARAMETERS


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in PARAMETERS["steps"]:
            await take(step, scope, receive, send)
    else:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": repr(scope["state"]).encode()})


async def take(step, scope, receive, send):
    match step:
        case {"type": _}:
            await send(step)
        case "receive":
            await receive()
        case ("sleep", seconds):
            print("sleeps", flush=True)
            await asyncio.sleep(seconds)
        case ("set", name, value):
            scope["state"][name] = value
        case ("expect", kind):
            assert scope["type"] == kind
        case ("exit", code):
            raise SystemExit(code)
        case ("raise", text):
            raise ValueError(text)
