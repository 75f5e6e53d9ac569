"""What users may rely on is in one place, and each piece of it has a docstring."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import prefork
from prefork import errors
from prefork.cli.main import COMMANDS, commands
from prefork.config.checked import EXTERNAL
from prefork.config.option import Option

ROOT = Path(prefork.__file__).parents[2]
NAMES = [name for name in prefork.__all__ if name != "__version__"]

in_the_sources = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="installed without its documents")


def test_the_package_exports_what_all_says_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(prefork).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(NAMES)
    assert sorted(prefork.__all__) == sorted(set(prefork.__all__))


def test_every_error_is_exported_and_has_one_root() -> None:
    own = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert own <= set(prefork.__all__)
    # It is raised in the code of applications: `except Exception` must not catch it.
    own.remove("RequestTimeout")
    assert all(issubclass(getattr(errors, name), prefork.PreforkError) for name in own)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_documented_with_all_that_is_public_of_it(name: str) -> None:
    value = getattr(prefork, name)
    assert value.__doc__
    if inspect.isclass(value):
        members = {
            member: what for member, what in vars(value).items() if is_method_or_property(member, what)
        }
        assert [member for member, what in members.items() if not what.__doc__] == []


def is_method_or_property(name: str, value: Any) -> bool:
    # A field of a class is explained by the class.
    return not name.startswith("_") and (
        inspect.isroutine(value) or isinstance(value, property) or inspect.isgetsetdescriptor(value)
    )


@in_the_sources
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_import_only_what_is_exported(path: Path) -> None:
    imported = re.findall(r"^\s*(?:from|import) (prefork\S*)", path.read_text(), re.MULTILINE)
    assert set(imported) <= {"prefork"}


# --- options ------------------------------------------------------------------------------------------------


def command(name: str) -> click.Command:
    found = commands.get_command(click.Context(commands), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_explains_itself(name: str) -> None:
    assert command(name).help
    flags = [flag for flag in command(name).params if isinstance(flag, click.Option)]
    assert [flag.name for flag in flags if not flag.help] == []


@pytest.mark.parametrize("option", EXTERNAL.values(), ids=lambda option: option.flag)
def test_every_option_is_a_flag_of_serve(option: Option) -> None:
    text = command("serve").get_help(click.Context(command("serve"), terminal_width=200))
    shown = re.search(rf"  (?:-\w, )?{option.flag}(?![\w-]).*?(?=\n  -|\Z)", text, re.DOTALL)
    assert shown is not None
    assert option.meaning in " ".join(shown[0].split())


# --- the version --------------------------------------------------------------------------------------------


def test_the_version_is_that_of_the_package_and_is_read_when_it_is_asked_for() -> None:
    script = (
        "import sys, prefork; early = 'importlib.metadata' in sys.modules; "
        "from prefork import __version__; print(early, __version__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", version("prefork")]


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'prefork' has no attribute 'PreForkSever'"):
        prefork.PreForkSever  # type: ignore[attr-defined]  # noqa: B018
