"""`/status.json`: the report that `prefork status --json` prints, for programs.

docs/status.schema.json describes it. A name that is there stays, with its meaning, as long as `version` does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefork._engine import Request, Response
    from prefork.admin.view import View

VERSION = 1


def status_json(view: View, _request: Request, response: Response) -> str:
    """503 and an empty object before there is a pool."""
    report = view.report()
    response.content_type = "application/json"
    if report is None:
        response.code = 503
        return json.dumps({"version": VERSION})
    return json.dumps({"version": VERSION, **report})
