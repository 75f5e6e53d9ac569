from __future__ import annotations

import re

from prefork.cli import hints
from prefork.config.options import EXTERNAL


def test_hints_name_existing_options() -> None:
    flags = {option.flag for option in EXTERNAL.values()}
    assert {name.split()[0] for name in hints.EQUIVALENTS.values()} <= flags
    assert not flags & hints.EQUIVALENTS.keys()
    absent = [name for names in hints.NOT_SUPPORTED for name in names.split()]
    assert not {name for name in absent if name in hints.EQUIVALENTS or name in flags}
    named = {flag for why in hints.NOT_SUPPORTED.values() for flag in re.findall(r"--[a-z-]+", why)}
    assert named - {"--json"} <= flags
