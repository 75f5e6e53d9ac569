"""What the host of a WSGI or ASGI application takes."""

# ruff: noqa: RUF009  (a field made by `option()` is a dataclass field: instances share nothing)
from __future__ import annotations

from dataclasses import dataclass

from prefork.config.option import Group, Options, option
from prefork.config.values import (
    MIB,
    WorkerHook,
    boolean,
    byte_size,
    choice,
    function,
    integer,
    optional,
    page,
    pages,
    path_prefix,
    seconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions(Options):
    """Options of a WSGI or ASGI application."""

    interface: str = option(
        Group.APPLICATION,
        "auto",
        choice("auto", "events", "wsgi", "asgi"),
        "Interface of the target. `auto` detects it.",
    )
    factory: bool = option(
        Group.APPLICATION, False, boolean, "The target is a function that returns the application."
    )
    threads: int = option(
        Group.APPLICATION,
        1,
        integer(1, 1024),
        "Number of threads per worker for WSGI calls. 1 calls the application in the main thread.",
    )
    root_path: str = option(
        Group.APPLICATION,
        "",
        path_prefix,
        "Path under which the application is mounted (SCRIPT_NAME, root_path).",
    )
    lifespan: str = option(
        Group.APPLICATION,
        "auto",
        choice("auto", "on", "off"),
        "Lifespan events of an ASGI application. `on` requires them, `auto` sends them if the application "
        "accepts them.",
    )
    loop: str = option(
        Group.APPLICATION,
        "auto",
        choice("auto", "asyncio", "uvloop"),
        "Event loop of an ASGI application. `auto` is asyncio.",
    )
    drain_streams: bool = option(
        Group.APPLICATION,
        True,
        boolean,
        "Send http.disconnect to an ASGI application that streams a response when the server or its worker "
        "shuts down.",
    )
    pathsend: bool = option(
        Group.APPLICATION,
        False,
        boolean,
        "Offer http.response.pathsend to an ASGI application, so that it sends files by their paths. All of "
        "its middleware has to know that.",
    )
    preload: bool = option(
        Group.APPLICATION,
        True,
        boolean,
        "Load the application once, in a process that forks the workers. Otherwise each worker loads it: for "
        "what cannot be forked after its import.",
    )
    warm: tuple[str, ...] = option(
        Group.APPLICATION,
        (),
        pages,
        "Page to request from the application before the first worker is forked, so that workers share what "
        "a first request makes: a path, or a URL whose host the application expects. Can be repeated.",
    )
    mold_ready: WorkerHook = option(
        Group.PROCESS,
        None,
        optional(function),
        "Function to call when the application is loaded and warm, before a worker is forked: it makes what "
        "workers are to share, and closes what they must not, such as database connections.",
    )
    ready_path: str | None = option(
        Group.APPLICATION,
        None,
        optional(page),
        "Page to request from the application in each new worker, before it accepts: it fails to start with "
        "a status of 500 or more. A path, or a URL whose host the application expects.",
    )
    ws_max_message: int = option(
        Group.WEBSOCKET,
        16 * MIB,
        byte_size(0),
        "Maximum size of a message from the client.",
        rust="websocket.max_message",
    )
    ws_ping_interval: float = option(
        Group.WEBSOCKET,
        20.0,
        seconds(0.0),
        "Interval of pings to the client. 0 disables.",
        rust="websocket.ping_interval",
    )
    ws_ping_timeout: float = option(
        Group.WEBSOCKET,
        20.0,
        seconds(0.001),
        "Close the connection if the client sends nothing for this long after a ping.",
        rust="websocket.ping_timeout",
    )
    ws_deflate: bool = option(
        Group.WEBSOCKET,
        True,
        boolean,
        "Compress messages if the client supports it (permessage-deflate).",
        rust="websocket.deflate",
    )
