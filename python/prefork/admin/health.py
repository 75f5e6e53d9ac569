"""`/healthz` and `/readyz`: whether the manager lives, and whether the pool serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefork.pool.policy import State

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.admin.view import View


def healthz(_view: View, _request: Request, _response: Response) -> str:
    """The manager responds, so it is alive: 200."""
    return "ok\n"


def readyz(view: View, _request: Request, response: Response) -> str:
    """200 if a new request is served, and else 503 with the reason."""
    if why := why_not_ready(view):
        response.code = 503
        return f"not ready: {why}\n"
    return "ready\n"


def why_not_ready(view: View) -> str:
    """Why no worker serves a new request; empty if one does."""
    manager, board = view.manager, view.board
    if manager is None or board is None:
        return "there is no pool yet"
    if manager.is_stopping:
        return "the server is stopping, and its workers drain"
    if manager.listener.sockets is None:
        return "the server does not listen"
    if State.SPARE in board.states():
        return ""  # as nearly always: a report costs more
    report = view.report(processes=False, figures=False)
    assert report is not None
    totals = report["totals"]
    if totals["spare"] or totals["active"]:
        return ""
    states = [f"{totals[state]} {state}" for state in ("starting", "draining", "stuck") if totals[state]]
    return f"of {totals['workers']} workers none is ready: {', '.join(states) or 'none is forked'}"
