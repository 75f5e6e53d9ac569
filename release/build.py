"""Builds the source distribution, and from that the wheels, with maturin and zig."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from release.interpreters import Interpreter
from release.platforms import Platform
from release.tree import PLACE

MATURIN = Path(sys.executable).parent / "maturin"


class Unbuilt(Exception):
    """maturin has built something else than what was wanted."""


def source_distribution(tree: Path, dist: Path) -> Path:
    """The archive of this tree. Raises CalledProcessError."""
    subprocess.run([MATURIN, "sdist", "--out", dist], cwd=tree, env=environment(tree), check=True)
    return _only(dist, "*.tar.gz")


def unpack(source: Path) -> Path:
    """The directory that the archive unpacks to. Its files are of now, as cargo decides by their age."""
    place = PLACE / "unpacked"
    shutil.rmtree(place, ignore_errors=True)
    with tarfile.open(source) as archive:
        archive.extractall(place, filter="data")
    for file in place.rglob("*"):
        os.utime(file)
    return _only(place, "*")


def wheels(
    tree: Path, dist: Path, platform: Platform, interpreters: Sequence[Interpreter], *, quick: bool
) -> list[Path]:
    """A wheel for each interpreter. Raises CalledProcessError, and Unbuilt if one is missing."""
    # One that cannot run here is known to maturin by its version.
    names = [
        each.executable if platform.is_of_this_machine else f"python{each.version}" for each in interpreters
    ]
    command = [str(MATURIN), "build", "--zig", "--target", platform.target, "--out", str(dist)]
    command += ["--compatibility", platform.compatibility, "--interpreter", *names]
    subprocess.run(command, cwd=tree, env=environment(tree, quick=quick), check=True)
    return [_only(dist, f"*-{each.tag}-{each.tag}-*{platform.policy}*.whl") for each in interpreters]


def environment(tree: Path, *, quick: bool = False) -> dict[str, str]:
    """Without the folders of this machine in what is compiled: a panic names the file of its code."""
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    registries = (cargo / "registry" / "src").glob("*")
    folders = {tree: "prefork", cargo: "cargo"} | dict.fromkeys(registries, "crates")
    others = {name: value for name, value in os.environ.items() if name not in ("PYO3_PYTHON", "RUSTFLAGS")}
    fast = {"LTO": "off", "CODEGEN_UNITS": "16", "OPT_LEVEL": "1"} if quick else {}
    return {
        **others,
        **{f"CARGO_PROFILE_WHEEL_{name}": value for name, value in fast.items()},
        "PATH": os.pathsep.join([str(MATURIN.parent), os.environ["PATH"]]),
        "CARGO_TARGET_DIR": str(PLACE / "build"),
        # Of several that match, rustc takes the last.
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(
            f"--remap-path-prefix={folder}={name}" for folder, name in folders.items()
        ),
        "CFLAGS": " ".join(f"-ffile-prefix-map={folder}={name}" for folder, name in folders.items()),
    }


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise Unbuilt(f"expected one {pattern} in {folder}, got {', '.join(map(str, found)) or 'none'}")
    return found[0]
