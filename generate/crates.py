"""The crates of others that are linked into the native module, as cargo resolves them for released wheels.

Without what only builds or tests it, without macros, which leave no code of theirs, and with the default
features: AWS-LC is in no wheel.
"""

from __future__ import annotations

import functools
import json
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODULE = "prefork-python"
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl")


@dataclass(frozen=True, slots=True)
class Crate:
    """A crate of others, and where its source is on this machine."""

    name: str
    version: str
    license: str
    folder: Path
    sha256: str
    """Of its archive, from Cargo.lock."""

    depends_on: tuple[tuple[str, str], ...]
    """Name and version of each crate that it links."""


@functools.cache
def linked_crates() -> tuple[Crate, ...]:
    """Sorted by name and version. Raises CalledProcessError if cargo cannot tell."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    sums = {(each["name"], each["version"]): each.get("checksum", "") for each in lock["package"]}
    packages, links = _resolved()
    found = [
        Crate(
            package["name"],
            package["version"],
            package["license"],
            Path(package["manifest_path"]).parent,
            sums[package["name"], package["version"]],
            tuple(sorted((packages[other]["name"], packages[other]["version"]) for other in links[name])),
        )
        for name, package in packages.items()
        if not _is_own(package)
    ]
    return tuple(sorted(found, key=lambda crate: (crate.name, crate.version)))


def used_by_own_crates() -> list[tuple[str, str]]:
    """Name and version of each crate of others that one of prefork's names."""
    packages, links = _resolved()
    used = {other for name, package in packages.items() if _is_own(package) for other in links[name]}
    return sorted(
        (packages[name]["name"], packages[name]["version"]) for name in used if not _is_own(packages[name])
    )


@functools.cache
def own_version() -> str:
    """Of prefork."""
    version: str = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    return version


@functools.cache
def _resolved() -> tuple[dict[str, dict[str, Any]], dict[str, set[str]]]:
    """Packages by their ids, and the ids that each of them links."""
    packages: dict[str, dict[str, Any]] = {}
    links: dict[str, set[str]] = {}
    for platform in PLATFORMS:
        _walk(_metadata(platform), packages, links)
    return packages, links


def _metadata(platform: str) -> Any:
    done = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", platform],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def _walk(metadata: Any, packages: dict[str, dict[str, Any]], links: dict[str, set[str]]) -> None:
    """Adds what the module links on one platform."""
    known = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    left = [name for name, package in known.items() if package["name"] == MODULE]
    while left:
        name = left.pop()
        packages[name] = known[name]
        used = {
            each["pkg"]
            for each in nodes[name]["deps"]
            if any(kind["kind"] is None for kind in each["dep_kinds"]) and not _is_macro(known[each["pkg"]])
        }
        left += used - links.get(name, set())
        links[name] = links.get(name, set()) | used


def _is_macro(package: dict[str, Any]) -> bool:
    return any("proc-macro" in target["kind"] for target in package["targets"])


def _is_own(package: dict[str, Any]) -> bool:
    return package["source"] is None
