"""The layout of `prefork serve --help`."""

from __future__ import annotations

import re

import click
import pytest

from prefork.cli.help import COLUMN
from prefork.cli.serve import serve
from prefork.config.checked import EXTERNAL
from prefork.config.option import Group, Option

WIDTHS = pytest.mark.parametrize("width", [80, 120])


def shown(width: int) -> str:
    return serve.get_help(click.Context(serve, info_name="prefork serve", terminal_width=width))


def sections(width: int) -> dict[str, str]:
    """The text of each section by its heading."""
    _, *parts = re.split(r"^(\S.*):$", shown(width), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@WIDTHS
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, shown(width).splitlines())) <= width


def test_sections_are_the_groups_in_their_order_and_then_examples() -> None:
    groups = [group.value for group in Group if group is not Group.CODE]
    assert list(sections(80)) == [*groups, "Examples"]


@pytest.mark.parametrize("option", EXTERNAL.values(), ids=lambda option: option.flag)
def test_a_flag_is_in_the_section_of_its_group_only(option: Option) -> None:
    entry = re.compile(rf"^  (-\w, )?{option.flag} ", re.MULTILINE)
    assert [name for name, text in sections(80).items() if entry.search(text)] == [option.group.value]


@WIDTHS
def test_all_texts_begin_in_one_column(width: int) -> None:
    context = click.Context(serve)
    records = [flag.get_help_record(context) for flag in serve.get_params(context)]
    names = {f"  {record[0]}" for record in records if record is not None}
    lines = [
        line for name, text in sections(width).items() if name != "Examples" for line in text.splitlines()
    ]
    assert len(lines) > 2 * len(Group)
    for line in filter(None, lines):
        left, gap, text = line[: COLUMN - 2].rstrip(), line[COLUMN - 2 : COLUMN], line[COLUMN:]
        in_column = left in {"", *names} and gap == "  " and not text.startswith(" ")
        assert in_column or line in names, line


def test_flags_and_defaults_are_not_broken() -> None:
    text = shown(80)
    assert re.search(r"\w-$", text, re.MULTILINE) is None
    assert len(re.findall(r"\[default: .+\]", text)) == text.count("[default:")
    assert "\xa0" not in text
