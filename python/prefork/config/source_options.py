"""What says where options come from. These are flags and variables; no file sets them."""

from __future__ import annotations

from typing import NamedTuple


class SourceOption(NamedTuple):
    """One of them. `repeats`: the flag can be repeated."""

    name: str
    short: str
    metavar: str
    meaning: str
    repeats: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return f"PREFORK_{self.name.upper()}"


SOURCE_OPTIONS = (
    SourceOption(
        "config",
        "-c",
        "FILE",
        "TOML file that sets these options, and no other file then. `none` is no file. Without it, "
        "prefork.toml and the table [tool.prefork] of pyproject.toml are read.",
    ),
    SourceOption(
        "profile",
        "",
        "NAME",
        "Profile of the file, whose options override its others: [profile.NAME], or [prefork.profile.NAME] "
        "in a file with a table [prefork].",
    ),
    SourceOption(
        "env_file",
        "",
        "FILE",
        "File of variables, NAME=value, for the options and for the application. A variable that is set "
        "already stays. Can be repeated.",
        repeats=True,
    ),
)
