from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefork.config import env_file
from prefork.errors import OptionError

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str, name: str = ".env") -> str:
        (tmp_path / name).write_text(content)
        return str(tmp_path / name)

    return write


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    env_file.load([], {})


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("  A = 1  ", "1"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=a b # comment", "a b"),
        ("A=a#b", "a#b"),
        ("A=#a", "#a"),
        ("A=postgres://u:p@h/d?x=1&y=2", "postgres://u:p@h/d?x=1&y=2"),
        ("A='single # \\n ${B}'", "single # \\n ${B}"),
        ("A='two\nlines'", "two\nlines"),
        ('A="two\nlines"#x', "two\nlines"),
        ('A="a\\tb\\n\\"c\\" \\\\ \\x"', 'a\tb\n"c" \\ \\x'),
        ('A="\\$5 \\${B} $${B} ${B}"', "$5 ${B} ${B} of outside"),
        ("A=${B}/${C:-c}", "of outside/c"),
        ("A=it's", "it's"),
    ],
)
def test_a_line_gives_a_value(write: Write, line: str, value: str) -> None:
    path = write(f"# first\n\n{line}\nLAST=last\n")
    assert env_file.read(path, {"B": "of outside"}) == {"A": value, "LAST": "last"}
    assert env_file.read(write(line), {"B": "of outside"}) == {"A": value}


def test_lines_may_end_as_on_windows_and_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert env_file.read(str(tmp_path / ".env"), {}) == {"A": "1", "B": "2"}


def test_a_value_may_refer_to_those_before_it(write: Write) -> None:
    assert env_file.read(write("A=a\nB=${A}b\n"), {}) == {"A": "a", "B": "ab"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nNOTHING\n", ":2: expected NAME=value, got a line without ="),
        ("A='1\n2'\nB C=secret", ":3: expected NAME=value, got 'B C=...'"),
        ("1A=x", ":1: expected NAME=value, got '1A=...'"),
        ('A="open', ":1: expected NAME=value, got 'A=...'"),
        ('A="x" y', ":1: expected NAME=value, got 'A=...'"),
        ("\nA=${NONE}", ":2: A: the variable NONE is not set"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number_and_not_shown(write: Write, text: str, message: str) -> None:
    path = write(text)
    with pytest.raises(OptionError) as caught:
        env_file.read(path, {})
    assert str(caught.value).startswith(path + message)
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"/none cannot be read: No such file"):
        env_file.load([str(tmp_path / "none")], {})
    (tmp_path / "latin").write_bytes(b"A=\xe9")
    with pytest.raises(OptionError, match=r"latin: expected text in UTF-8"):
        env_file.load([str(tmp_path / "latin")], {})


def test_what_is_set_outside_stays_and_a_later_file_is_stronger(write: Write) -> None:
    environment = {"A": "outside"}
    first, second = write("A=1\nB=1\nC=1\n", "first"), write("C=2\nD=${A}\n", "second")
    env_file.load([first, second], environment)
    assert environment == {"A": "outside", "B": "1", "C": "2", "D": "outside"}
    assert env_file.without_files(environment) == {"A": "outside"}


def test_a_file_that_has_changed_changes_what_it_has_set_and_nothing_else(write: Write) -> None:
    environment: dict[str, str] = {}
    path = write("A=1\nB=1\nC=1\n")
    env_file.load([path], environment)
    environment["C"] = "of the application"
    write("A=2\nC=2\n")
    env_file.load([path], environment)
    assert environment == {"A": "2", "C": "of the application"}
