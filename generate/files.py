"""Which files are generated, and from what."""

from __future__ import annotations

import json
from collections.abc import Callable

from generate import api, chart, from_others, keywords, man, notices, page, rust, sbom
from prefork.config.schema import schema

FILES: dict[str, Callable[[], str]] = {
    "THIRD-PARTY.txt": notices.notices,
    "crates/engine/src/settings.rs": rust.engine_settings,
    "crates/python/prefork.cdx.json": sbom.sbom,
    "crates/python/src/settings.rs": rust.binding_settings,
    "docs/api.md": api.api_page,
    "docs/from-gunicorn.md": from_others.gunicorn_page,
    "docs/from-uvicorn.md": from_others.uvicorn_page,
    "docs/from-uwsgi.md": from_others.uwsgi_page,
    "docs/options.md": page.options_page,
    "docs/prefork.1": man.manual_page,
    "docs/prefork.schema.json": lambda: json.dumps(schema(), indent=1) + "\n",
    "docs/pictures/policy-burst.svg": chart.burst,
    "docs/pictures/policy-wave.svg": chart.wave,
    "python/prefork/config/keywords.py": keywords.keywords,
}
"""Path of each file, and the function that gives its text."""
