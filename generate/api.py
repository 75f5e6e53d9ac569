"""`docs/api.md`: what a program imports from prefork, from its docstrings.

The sources are read, not imported: the native module need not be built, and its stub has the docstrings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "python"

HEAD = """\
<!-- Generated from the docstrings of python/prefork/ by `make generate`. Do not edit. -->

# Python API

Everything that a program imports is in `prefork`, and this page has all of it: `from prefork import run`. The
options of `run` and of both servers are in [options.md](options.md). [hosting.md](hosting.md) is about
applications of WSGI and ASGI, [design.md](design.md) about the parts.
"""

SECTIONS = {
    "Running": ("prefork.hosting", "prefork.programs"),
    "Servers": ("prefork.server", "prefork.pool"),
    "Kernel and sessions": ("prefork.kernel",),
    "Requests and responses": ("prefork._engine", "prefork.forms"),
    "Errors": ("prefork.errors",),
    "More": ("prefork",),
}
"""The headings in their order, and which modules belong to each: the first one that fits."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


@dataclass(frozen=True)
class Found:
    """A definition, and the module that has it."""

    module: str
    node: Definition


def api_page() -> str:
    """The whole page."""
    package = _module("prefork")
    names = {name for name in _exported(package) if not name.startswith("__")}
    found = {name: _find("prefork", name) for name in sorted(names, key=str.lower)}
    parts = [HEAD]
    for heading in SECTIONS:
        own = [name for name, one in found.items() if _section(one.module) == heading]
        if own:
            parts.append(f"## {heading}\n")
            parts += [_entry(name, found[name], names) for name in own]
    return "\n".join(parts)


def _section(module: str) -> str:
    return next(
        heading
        for heading, modules in SECTIONS.items()
        if any(module == one or module.startswith(f"{one}.") for one in modules)
    )


def _entry(name: str, found: Found, exported: set[str]) -> str:
    node = found.node
    if not isinstance(node, ast.ClassDef):
        return f"### {name}\n\n{_signature(name, node)}\n\n{_docstring(node)}\n"
    bases = [base for base in map(_base_name, node.bases) if base]
    lines = [f"### {name}\n", f"{_docstring(node)}\n"]
    shown = [base for base in bases if base in exported or base.endswith(("Error", "Exception"))]
    if shown:
        text = ", ".join(
            f"[`{base}`](#{base.lower()})" if base in exported else f"`{base}`" for base in shown
        )
        lines.append(f"Base: {text}.\n" if len(shown) == 1 else f"Bases: {text}.\n")
    members = dict(_members(found, exported))
    lines += [f"- {text}" for text in members.values()]
    return "\n".join([*lines, ""] if members else lines)


def _members(found: Found, exported: set[str]) -> Iterator[tuple[str, str]]:
    """Name and text of what is public of a class, with what bases have that are not exported."""
    assert isinstance(found.node, ast.ClassDef)
    body = found.node.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef) or not (name := _member_name(node)):
            continue
        if isinstance(node, Function):
            text = ast.get_docstring(node)
            shown = f"`{name}`" if _is_property(node) else _signature(name, node)
        else:
            shown, text = f"`{name}`", _text_of(after)
        if text:
            yield name, f"{shown}: {_indented(text)}"
    for base in filter(None, map(_base_name, found.node.bases)):
        if base not in exported and (inherited := _try_find(found.module, base)):
            own = {_member_name(node) for node in body}
            yield from ((name, text) for name, text in _members(inherited, exported) if name not in own)


def _member_name(node: ast.stmt) -> str:
    """The name that a statement of a class gives; empty if it is not public."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            pass
        case ast.AnnAssign(target=ast.Name(id=name)):
            pass
        case _:
            return ""
    return "" if name.startswith("_") else name


def _is_property(node: Function) -> bool:
    return any(ast.unparse(one).endswith(("property", ".setter")) for one in node.decorator_list)


def _signature(name: str, node: Function) -> str:
    """As a call: names and defaults, without annotations."""
    arguments = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(arguments, Function)
    given = arguments.args
    for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if one is not None:
            one.annotation = None
    given.args = [one for one in given.args if one.arg not in ("self", "cls")]
    prefix = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"`{prefix}{name}({ast.unparse(given)})`"


def _docstring(node: Definition) -> str:
    text = ast.get_docstring(node)
    assert text, f"{node.name} has no docstring"
    return text


def _text_of(node: ast.stmt | None) -> str | None:
    """The text behind a field, which documents it."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    return None


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ").replace("\n  \n", "\n\n")


def _base_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
            return name
    return ""


def _exported(package: ast.Module) -> list[str]:
    for node in package.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
    raise AssertionError("prefork has no __all__")


def _try_find(module: str, name: str) -> Found | None:
    try:
        return _find(module, name)
    except LookupError:
        return None


def _find(module: str, name: str) -> Found:
    """The definition of a name, in the module or where that imports it from. Raises LookupError."""
    tree = _module(module)
    defined = [node for node in tree.body if isinstance(node, Definition) and node.name == name]
    if defined:  # overloads have their docstring in the last one, or in the first
        return Found(module, next((node for node in defined if ast.get_docstring(node)), defined[-1]))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "prefork":
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(node.module or "", alias.name)
    raise LookupError(f"{name} is not in {module}")


@cache
def _module(name: str) -> ast.Module:
    """The source of a module, or its stub."""
    place = PACKAGE / name.replace(".", "/")
    files = (place.with_suffix(".pyi"), place.with_suffix(".py"), place / "__init__.py")
    return ast.parse(next(file for file in files if file.exists()).read_text())
