"""A directory in the place of the package index: wheels of what is installed here, prefork's own build too.

`pip install` needs no network then, and installs the build that is tested.
"""

from __future__ import annotations

import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import sys_tags

import prefork

SOURCE = Path(prefork.__file__).parents[1]
OF_THE_INSTALLATION = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")


def make_index(folder: Path, name: str, *extras: str) -> dict[str, str]:
    """Wheels of a distribution and of all that it needs, also with these extras, and the variables that have
    pip take only these.
    """
    for one in required(name, *extras):
        write_wheel(folder, one)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONSTRAINT": ""}


def required(name: str, *extras: str) -> list[Distribution]:
    """The distribution of this name, and those that it needs without an extra and with these."""
    left, found = [name], {}
    while left:
        one = distribution(left.pop())
        if one.name not in found:
            found[one.name] = one
            needs = map(Requirement, one.requires or ())
            wanted = ("", *extras) if one.name == name else ("",)
            left += [need.name for need in needs if _holds(need, wanted)]
    return list(found.values())


def _holds(need: Requirement, extras: Iterable[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)


def write_wheel(folder: Path, one: Distribution) -> None:
    """Its files as they are, in a wheel for this Python."""
    tag = next(str(tag) for tag in sys_tags() if f"Tag: {tag}\n" in f"{one.read_text('WHEEL')}\n")
    name = f"{one.name.replace('-', '_')}-{one.version}"
    with zipfile.ZipFile(folder / f"{name}-{tag}.whl", "w") as wheel:
        for inside, file in files(one):
            wheel.write(file, inside)
        names = wheel.namelist()
        record = next(inside for inside in names if inside.endswith(".dist-info/METADATA"))
        record = record.replace("METADATA", "RECORD")
        wheel.writestr(record, "".join(f"{inside},,\n" for inside in [*names, record]))


def files(one: Distribution) -> Iterator[tuple[str, Path]]:
    """Those of an installation: the name in the wheel, and the place. That of a source tree too."""
    for file in one.files or ():
        kept = file.parts[0] != ".." and file.suffix not in (".pth", ".pyc")
        if kept and file.name not in OF_THE_INSTALLATION:
            yield str(file), Path(str(file.locate()))
        if file.suffix == ".pth":
            for package in ("prefork", "pytest_prefork"):
                yield from sources(SOURCE / package)


def sources(package: Path) -> Iterator[tuple[str, Path]]:
    """Those of a package in the source tree. It may have a native module for each version of Python."""
    for file in package.rglob("*"):
        is_other = file.suffix == ".so" and not file.name.endswith(
            str(sysconfig.get_config_var("EXT_SUFFIX"))
        )
        if file.is_file() and file.suffix != ".pyc" and not is_other:
            yield str(file.relative_to(SOURCE)), file
