"""`crates/python/prefork.cdx.json`: what is linked into the native module, as a list (CycloneDX).

maturin puts it into each wheel. Its own would name the folder in which the wheel was built.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from generate.crates import Crate, linked_crates, own_version, used_by_own_crates


def sbom() -> str:
    own = f"pkg:pypi/prefork@{own_version()}"
    crates = linked_crates()
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": own,
                "name": "prefork",
                "version": own_version(),
                "purl": own,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": [component(crate) for crate in crates],
        "dependencies": [
            depends(own, used_by_own_crates()),
            *(depends(reference(crate.name, crate.version), crate.depends_on) for crate in crates),
        ],
    }
    return json.dumps(bill, indent=1) + "\n"


def component(crate: Crate) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": reference(crate.name, crate.version),
        "name": crate.name,
        "version": crate.version,
        "purl": reference(crate.name, crate.version),
        "licenses": [{"expression": crate.license}],
        "hashes": [{"alg": "SHA-256", "content": crate.sha256}],
    }


def depends(name: str, on: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {"ref": name, "dependsOn": [reference(*other) for other in on]}


def reference(name: str, version: str) -> str:
    """The package URL of a crate. https://github.com/package-url/purl-spec"""
    return f"pkg:cargo/{name}@{quote(version)}"
