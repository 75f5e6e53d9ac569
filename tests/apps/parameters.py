"""What a test gives its application: `serve(APP, parameters={...})`."""

from __future__ import annotations

import json
import os
from typing import Any

PARAMETERS: dict[str, Any] = json.loads(os.environ.get("TEST_PARAMETERS", "{}"))
