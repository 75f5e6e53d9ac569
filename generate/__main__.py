"""`python -m generate` writes the generated files."""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The options without `prefork/__init__.py`: that imports the native module, which cannot be built while a
# field of its settings is missing.
package = types.ModuleType("prefork")
package.__path__ = [str(ROOT / "python" / "prefork")]
sys.modules["prefork"] = package

from generate.files import FILES  # noqa: E402

for path, text in FILES.items():
    (ROOT / path).write_text(text())
