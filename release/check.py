"""What a distribution must have, and must not have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from email import message_from_bytes
from io import BytesIO
from pathlib import Path

from release.platforms import PLATFORMS, Platform
from release.tree import ROOT, packages, version

TOOLS = Path(sys.executable).parent
OF_THE_CHECKOUT = (".editorconfig", ".gitignore", ".pre-commit-config.yaml")
"""What is committed and is for a checkout alone."""


class Unfit(Exception):
    """A distribution is not as users need it."""


def source_distribution(path: Path, tree: Path) -> None:
    """Raises Unfit if it cannot be built and tested as a checkout can: it has each file of the tree."""
    wanted = {str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file()}
    with tarfile.open(path) as archive:
        files = {name.partition("/")[2]: name for name in archive.getnames()}
        if missing := sorted(wanted - files.keys() - set(OF_THE_CHECKOUT)):
            raise Unfit(f"{path.name} lacks {', '.join(missing)}")
        for name in files.values():
            file = archive.extractfile(name) if archive.getmember(name).isfile() else None
            if file is not None:
                _names_no_folder(f"{path.name}: {name}", file.read())


def descriptions(paths: Sequence[Path]) -> None:
    """Raises CalledProcessError if a package index would not show a description, or not take the metadata."""
    subprocess.run([TOOLS / "twine", "check", "--strict", *paths], check=True)


def wheel(path: Path) -> str:
    """A line about it. Raises Unfit if it is not what its name says, or has what no user needs."""
    platform = next(each for each in PLATFORMS.values() if each.has(path))
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    top = f"prefork-{version()}.dist-info"
    if others := {name.split("/")[0] for name in contents} - {*packages(), top}:
        raise Unfit(f"{path.name} has {', '.join(sorted(others))} beside the package")
    for name in (
        f"{top}/sboms/prefork.cdx.json",
        f"{top}/licenses/THIRD-PARTY.txt",
        f"{top}/licenses/LICENSE",
    ):
        if name not in contents:
            raise Unfit(f"{path.name} lacks {name}")
    if found := re.findall(rb"\]\((?!https?:|#)[^)]*\)", _readme(contents[f"{top}/METADATA"])):
        raise Unfit(f"{path.name}: its readme has a link that leads nowhere: {found[0].decode()}")
    for name, content in contents.items():
        _names_no_folder(f"{path.name}: {name}", content)
    (module,) = (name for name in contents if name.endswith(".so"))
    _is_stripped(path, contents[module])
    _needs_only(path, platform, contents[module])
    return (
        f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, native code {len(contents[module]) / 1e6:.1f} MB, "
        f"for {_auditwheel(path, platform)}"
    )


def _readme(metadata: bytes) -> bytes:
    description = message_from_bytes(metadata).get_payload(decode=True)
    assert isinstance(description, bytes)
    return re.sub(rb"^```.*?^```$", b"", description, flags=re.MULTILINE | re.DOTALL)


def _names_no_folder(name: str, content: bytes) -> None:
    for folder in _folders():
        if folder in content:
            raise Unfit(f"{name} names a folder of the machine that built it: {folder.decode()}")


def _folders() -> Iterable[bytes]:
    home = Path.home()
    cargo = Path(os.environ.get("CARGO_HOME", home / ".cargo"))
    return {os.fsencode(folder) + b"/" for folder in (ROOT, cargo, home / ".rustup", home / ".cargo")}


def _is_stripped(path: Path, module: bytes) -> None:
    from elftools.elf.elffile import ELFFile  # here: only an environment with auditwheel has it

    names = [section.name for section in ELFFile(BytesIO(module)).iter_sections()]
    if left := [name for name in names if name == ".symtab" or name.startswith(".debug")]:
        raise Unfit(f"{path.name} is not stripped: it has {', '.join(left)}")


def _needs_only(path: Path, platform: Platform, module: bytes) -> None:
    from elftools.elf.dynamic import DynamicSection  # as above
    from elftools.elf.elffile import ELFFile

    needed = {
        entry.needed
        for section in ELFFile(BytesIO(module)).iter_sections()
        if isinstance(section, DynamicSection)
        for entry in section.iter_tags("DT_NEEDED")
    }
    if others := needed - platform.libraries:
        raise Unfit(f"{path.name} needs {', '.join(sorted(others))}")


def _auditwheel(path: Path, platform: Platform) -> str:
    """The oldest system it runs on, as auditwheel sees it. Raises Unfit if its name says less."""
    if platform.policy.startswith("musllinux"):
        # zig links with libc.so, which the loader of musl takes for itself; auditwheel knows another name.
        return platform.policy
    done = subprocess.run([TOOLS / "auditwheel", "show", path], stdout=subprocess.PIPE, text=True, check=True)
    found = re.search(r'platform tag:\s+"(\w+)"', done.stdout)
    oldest = found[1] if found else "no system that auditwheel knows"
    if not _is_as_old(oldest, platform.policy):
        raise Unfit(f"{path.name}: expected one for {platform.policy}, got one for {oldest}")
    return oldest


def _is_as_old(oldest: str, wanted: str) -> bool:
    form = re.compile(r"(manylinux|musllinux)_(\d+)_(\d+)_(\w+)")
    there, here = form.fullmatch(oldest), form.fullmatch(wanted)
    if there is None or here is None:
        return False
    return (there[1], there[4]) == (here[1], here[4]) and (int(there[2]), int(there[3])) <= (
        int(here[2]),
        int(here[3]),
    )
