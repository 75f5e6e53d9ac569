"""The platforms that have wheels, and what a machine needs to build for them.

zig links for all of them, and brings the libraries of each, in the oldest version that is wanted.
"""

from __future__ import annotations

import contextlib
import platform as machine
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Platform:
    """A processor and a C library."""

    name: str
    target: str
    """As Rust calls it."""

    compatibility: str
    """As maturin calls the oldest system that the wheel must run on."""

    policy: str
    """Its tag, among those in the name of the wheel."""

    libraries: frozenset[str]
    """All that the module may be linked to."""

    @property
    def is_of_this_machine(self) -> bool:
        """Whether an interpreter of this machine loads it."""
        ours = "gnu" if machine.libc_ver()[0] == "glibc" else "musl"
        return self.target.startswith(f"{machine.machine()}-") and self.target.endswith(f"-{ours}")

    def has(self, wheel: Path) -> bool:
        """Whether this wheel is for it."""
        return self.policy in wheel.stem.rpartition("-")[2].split(".")

    def missing(self) -> str | None:
        """What this machine lacks to build for it, after an attempt to get it; None if nothing."""
        if _has_standard_library(self.target):
            return None
        command = ["rustup", "target", "add", self.target]
        if shutil.which("rustup") is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is as if it had failed
                subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=300
                )
        if _has_standard_library(self.target):
            return None
        return (
            f"Rust's standard library for {self.target} cannot be had here: `{' '.join(command)}` has failed"
        )


def _has_standard_library(target: str) -> bool:
    done = subprocess.run(
        ["rustc", "--print", "target-libdir", "--target", target], capture_output=True, text=True, check=True
    )
    return any(Path(done.stdout.strip()).glob("libstd-*.rlib"))


GLIBC = frozenset({"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libgcc_s.so.1"})

PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform(
            "manylinux-x86_64",
            "x86_64-unknown-linux-gnu",
            "manylinux2014",
            "manylinux_2_17_x86_64",
            GLIBC | {"ld-linux-x86-64.so.2"},
        ),
        Platform(
            "manylinux-aarch64",
            "aarch64-unknown-linux-gnu",
            "manylinux2014",
            "manylinux_2_17_aarch64",
            GLIBC | {"ld-linux-aarch64.so.1"},
        ),
        Platform(
            "musllinux-x86_64",
            "x86_64-unknown-linux-musl",
            "musllinux_1_2",
            "musllinux_1_2_x86_64",
            frozenset({"libc.so", "libc.musl-x86_64.so.1", "libgcc_s.so.1"}),
        ),
    )
}
"""By their names."""
