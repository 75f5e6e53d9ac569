"""Error pages: what they show, and what they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefork.hosting.dev.pages import HIDDEN, HTML, JSON, TEXT, Pages
from prefork.hosting.dev.traces import MOST_STEPS, parts_of, text_of


def raised(code: str, directory: Path) -> BaseException:
    """What a file of the user raises."""
    path = directory / "code.py"
    path.write_text(code)
    try:
        exec(compile(code, str(path), "exec"), {})
    except BaseException as error:
        return error
    raise AssertionError("it raises nothing")


CHAIN = """
def inner():
    secret = "sword" + "fish"
    raise KeyError("<key>")

try:
    inner()
except KeyError as error:
    raise ValueError("<b>outer</b>") from error
"""


def page(error: BaseException, accept: str | None, *, shows_values: bool = False) -> tuple[str, str]:
    return Pages(shows_values=shows_values).page(error, "It failed", "GET /<here>", accept)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,*/*", HTML),
        ("application/json", JSON),
        ("application/problem+json", JSON),
        ("*/*", TEXT),
        ("", TEXT),
        (None, TEXT),
    ],
)
def test_a_client_gets_what_it_accepts(tmp_path: Path, accept: str | None, kind: str) -> None:
    assert page(raised(CHAIN, tmp_path), accept)[0] == kind


def test_all_text_is_escaped(tmp_path: Path) -> None:
    _, text = page(raised(CHAIN, tmp_path), "text/html", shows_values=True)
    for wrong in ("<key>", "<b>", "<here>"):
        assert wrong not in text
    assert "&lt;b&gt;outer" in text
    assert "GET /&lt;here&gt;" in text


def test_causes_come_first_with_the_code_around_them(tmp_path: Path) -> None:
    first, second = parts_of(raised(CHAIN, tmp_path), shows_values=False)
    assert (first.kind, second.kind) == ("KeyError", "ValueError")
    assert first.link == ""
    assert "direct cause" in second.link
    step = first.steps[-1]
    assert (step.name, step.number, step.is_own) == ("inner", 4, True)
    (here,) = [line for line in step.lines if line.is_here]
    assert here.text == '    raise KeyError("<key>")'
    assert [line.number for line in step.lines] == list(range(1, 10))


def test_values_are_shown_only_if_asked_for(tmp_path: Path) -> None:
    error = raised(CHAIN, tmp_path)
    _, without = page(error, "text/html")
    assert "swordfish" not in without
    assert HIDDEN in without
    _, with_values = page(error, "text/html", shows_values=True)
    assert "swordfish" in with_values
    assert HIDDEN not in with_values


def test_json_has_type_message_and_traceback(tmp_path: Path) -> None:
    _, text = page(raised(CHAIN, tmp_path), "application/json")
    error = json.loads(text)["error"]
    assert (error["type"], error["message"], error["where"]) == ("ValueError", "<b>outer</b>", "GET /<here>")
    assert error["traceback"][-1] == "ValueError: <b>outer</b>"


def test_steps_of_the_library_are_not_the_users(tmp_path: Path) -> None:
    (part,) = parts_of(raised("import json\njson.loads('{')\n", tmp_path), shows_values=False)
    assert [step.is_own for step in part.steps if step.file.endswith("code.py")] == [True]
    assert {step.is_own for step in part.steps if "/json/" in step.file} == {False}


def test_a_recursion_without_end_is_shortened(tmp_path: Path) -> None:
    (part,) = parts_of(raised("def f():\n    f()\nf()\n", tmp_path), shows_values=False)
    assert len(part.steps) == MOST_STEPS


def test_an_error_of_syntax_shows_its_line(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("x = (\n", str(tmp_path / "code.py"), "exec")
    (part,) = parts_of(caught.value, shows_values=False)
    assert part.kind == "SyntaxError"
    assert "line 1" in part.text
    assert "x = (" in text_of(caught.value)


def test_each_exception_of_a_group_is_shown(tmp_path: Path) -> None:
    code = "raise ExceptionGroup('both', [ValueError('one'), KeyError('two')])\n"
    _, text = page(raised(code, tmp_path), "text/html")
    for name in ("both", "ValueError: one", "KeyError: &#x27;two&#x27;"):
        assert name in text


def test_a_value_that_cannot_be_shown_is_no_error(tmp_path: Path) -> None:
    code = """
class Bad:
    def __repr__(self):
        raise RuntimeError

def f():
    bad = Bad()
    long = "x" * 10_000
    raise ValueError
f()
"""
    _, text = page(raised(code, tmp_path), "text/html", shows_values=True)
    assert "ValueError" in text
    assert "x" * 1000 not in text
