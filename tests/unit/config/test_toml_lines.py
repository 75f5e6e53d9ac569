from __future__ import annotations

import tomllib
from typing import Any

import pytest

from prefork.config.toml_lines import KeyPath, lines_of

WHOLE = '''\
# a comment = 1
title = "a # b" # c = 2
"quoted key" = 'x = 1'
'lit.eral' = 3
dotted . "mid.dle".last = 4

[table] # [not.this]
plain = 7
text = """
inside = 9
[neither]
"""
raw = \'\'\'
also = 14
\'\'\'
after = 16
ends = """with "quotes\\"""""
more = \'\'\'it\'\'\'\'
list = [
  1, # x = 20
  "]", { in_list = 21, deep = { deeper = [ 1.5, ] } },
]
date = 1979-05-27 07:32:00.5
number = -1.5e+3
inline = { a = 1, "b c" = { d = 2 }, e.f = 3 }

[ other . "ta ble" ]
k = true
[[array]]
one = 1
[[array]]
one = 2
two = 3
[array.below]
x = 1
[empty]
'''


def paths(document: dict[str, Any], above: KeyPath = ()) -> set[KeyPath]:
    """All keys of a document."""
    found = set()
    for name, value in document.items():
        found.add((*above, name))
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                found |= paths(one, (*above, name))
    return found


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_key_of_a_document_has_its_line(ending: str) -> None:
    text = WHOLE.replace("\n", ending)
    found = lines_of(text)
    assert found.keys() == paths(tomllib.loads(text))
    lines = WHOLE.splitlines()
    for path, line in found.items():
        assert path[-1] in lines[line - 1].replace("\\", ""), (path, line)
    expected = {
        ("title",): 2,
        ("lit.eral",): 4,
        ("dotted",): 5,
        ("dotted", "mid.dle", "last"): 5,
        ("table",): 7,
        ("table", "after"): 16,
        ("table", "ends"): 17,
        ("table", "list", "deep", "deeper"): 21,
        ("table", "number"): 24,
        ("table", "inline", "b c", "d"): 25,
        ("table", "inline", "e", "f"): 25,
        ("other", "ta ble", "k"): 28,
        ("array", "one"): 30,
        ("array", "two"): 33,
        ("array", "below", "x"): 35,
        ("empty",): 36,
    }
    assert {path: found[path] for path in expected} == expected


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n", "a = 1", "[t]", "a = ''", 'a = ""', 'a = """"""'])
def test_a_small_document(text: str) -> None:
    assert lines_of(text).keys() == paths(tomllib.loads(text))
