"""The stub has what the native module has: its docstrings, and the interface of a service."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import prefork
from prefork import _engine
from prefork.config.checked import check
from prefork.config.options import ServerOptions

STUB = ast.parse((Path(prefork.__file__).parent / "_engine.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def joined(text: str | None) -> str:
    return " ".join((text or "").split())


def documented(body: list[ast.stmt]) -> Iterator[tuple[str, str | None]]:
    """Each public name with its docstring. Overloads and setters say it once, at the first."""
    seen = set()
    for number, node in enumerate(body):
        if isinstance(node, ast.FunctionDef):
            name, text = node.name, ast.get_docstring(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            after = body[number + 1] if number + 1 < len(body) else None
            name, text = node.target.id, None
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                text = str(after.value.value)
        else:
            continue
        if not name.startswith("_") and name not in seen:
            seen.add(name)
            yield name, text


@pytest.mark.parametrize("name", [name for name in CLASSES if not name.startswith("_")])
def test_a_class_is_documented_alike(name: str) -> None:
    native = getattr(_engine, name)
    stub = {member: joined(text) for member, text in documented(CLASSES[name].body)}
    assert stub == {member: joined(getattr(native, member).__doc__) for member in stub}
    assert "" not in stub.values()
    assert joined(ast.get_docstring(CLASSES[name])) == joined(native.__doc__) != ""


@pytest.mark.parametrize(("name", "text"), list(documented(STUB.body)))
def test_a_function_or_constant_is_documented(name: str, text: str | None) -> None:
    native = getattr(_engine, name)
    assert joined(text)
    assert not callable(native) or joined(text) == joined(native.__doc__)


def test_the_interface_of_a_service_is_that_of_the_stub() -> None:
    looked_up: list[str] = []

    class Recorder(SimpleNamespace):
        def __getattr__(self, name: str) -> object:
            looked_up.append(name)
            return None

    with socket.create_server(("127.0.0.1", 0)) as listener:
        _engine.Engine().listen(listener.fileno(), Recorder(), check(ServerOptions, {}))
    documents = dict(documented(CLASSES["_Service"].body))
    assert sorted(looked_up) == sorted(documents)
    assert all(documents.values())
