"""`python -m generate` writes the generated files."""

from __future__ import annotations

import contextlib
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
from generate.from_others import PEERS, missing  # noqa: E402

for path, text in FILES.items():
    (ROOT / path).write_text(text())

for peer in PEERS:
    with contextlib.suppress(ImportError):
        if lacking := missing(peer):
            sys.exit(f"prefork/config/peers/{peer.name}.py lacks {', '.join(sorted(lacking))}")
