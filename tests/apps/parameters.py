"""What a test gives its application: `serve(APP, parameters={...})`. Any Python literal may stand there."""

from __future__ import annotations

import ast
import os
from typing import Any

PARAMETERS: dict[str, Any] = ast.literal_eval(os.environ.get("TEST_PARAMETERS", "{}"))
