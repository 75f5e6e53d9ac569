"""Reads the code: which module uses which, in Python and in Rust. Nothing is imported or compiled.

A graph is a dict: the name of a module, and the modules of the same package or crate that it uses.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Graph = dict[str, set[str]]


def find_circle(graph: Graph) -> list[str] | None:
    """The modules of one circle, in order, with the first one again at the end; None without a circle."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1]
        return circle[::-1]  # the sorter names the used module first
    return None


# Python.


def python_graph(package: Path) -> Graph:
    """The imports among the modules of a package, also those in functions and for type checkers only."""
    files = {_module_name(package, file): file for file in sorted(package.rglob("*.py*")) if _is_source(file)}
    return {name: _imports(file, name, files) - {name} for name, file in files.items()}


def _is_source(file: Path) -> bool:
    return file.suffix in (".py", ".pyi")


def _module_name(package: Path, file: Path) -> str:
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(file: Path, name: str, modules: dict[str, Path]) -> set[str]:
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.add(submodule if submodule in modules else base)
    return found & modules.keys()


# Rust.


class _Use(NamedTuple):
    """One leaf of a `use` tree: its path, and the name that it has in the module."""

    path: tuple[str, ...]
    name: str


class _Module(NamedTuple):
    uses: list[_Use]
    paths: list[tuple[str, ...]]
    """Paths in the code that begin with crate, self or super, or with a child module."""


NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^']+|[^\\'\n])'""", re.DOTALL
)
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])[A-Za-z_]\w*(?:::[A-Za-z_]\w*)+")
TYPE = re.compile(r"\b(?:struct|enum|union)\s+([A-Z]\w*)")
OWN_METHODS = re.compile(r"^[ \t]*impl(?:<[^{]*?>)?\s+([A-Z]\w*)(?:<[^{]*?>)?\s*\{", re.MULTILINE)
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*mod\s+\w+\s*\{")


def rust_graph(source: Path) -> Graph:
    """The uses among the modules of a crate, named as in `http1::head`; the root is `lib`.

    A name that another module only re-exports counts for the module that defines it. A call of a method
    counts if the method lies outside of its type's module. Tests do not count.
    """
    code = _rust_modules(source)
    modules = {name: _read_module(text) for name, text in code.items()}
    hidden = _uses_of_methods(code)
    graph: Graph = {}
    for name, module in modules.items():
        paths = [use.path for use in module.uses] + module.paths
        used = {_resolve(modules, name, path) for path in paths} - {None, name}
        spelled = {_spell(other) for other in used if other is not None}
        graph[_spell(name)] = spelled | hidden.get(_spell(name), set())
    return graph


def _uses_of_methods(modules: dict[tuple[str, ...], str]) -> Graph:
    """Uses that no `use` shows: a type's own module calls a method that another module gives the type."""
    homes: dict[str, set[tuple[str, ...]]] = {}
    for name, code in modules.items():
        for match in TYPE.finditer(code):
            homes.setdefault(match[1], set()).add(name)
    graph: Graph = {}
    for name, code in modules.items():
        for match in OWN_METHODS.finditer(code):
            own = homes.get(match[1], set())
            if name in own:
                continue
            methods = "|".join(
                re.findall(r"\bfn\s+(\w+)", code[match.end() : _end_of_block(code, match.end())])
            )
            call = re.compile(rf"\b(?:self|{match[1].lower()})\.(?:{methods})\(")
            for home in own:
                if methods and call.search(modules[home]):
                    graph.setdefault(_spell(home), set()).add(_spell(name))
    return graph


def _rust_modules(source: Path) -> dict[tuple[str, ...], str]:
    """The modules of a crate, and the code of each without its tests."""
    return {
        _rust_name(source, file): _without_tests(rust_code(file.read_text()))
        for file in sorted(source.rglob("*.rs"))
        if not {"tests", "tests.rs"} & set(file.relative_to(source).parts)
    }


def _rust_name(source: Path, file: Path) -> tuple[str, ...]:
    parts = file.relative_to(source).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def _spell(name: tuple[str, ...]) -> str:
    return "::".join(name) or "lib"


def rust_code(text: str) -> str:
    """The text of a Rust file without comments, and without what is in strings."""
    return NOT_CODE.sub(" ", text)


def _read_module(code: str) -> _Module:
    uses = [use for match in USE.finditer(code) for use in _expand(match[1])]
    paths = [tuple(match[0].split("::")) for match in PATH.finditer(USE.sub(" ", code))]
    return _Module(uses, paths)


def _without_tests(code: str) -> str:
    while match := TEST_MODULE.search(code):
        code = code[: match.start()] + code[_end_of_block(code, match.end()) :]
    return code


def _end_of_block(code: str, start: int) -> int:
    """The place after the brace that ends the block whose content begins at `start`."""
    depth, end = 1, start
    while depth and end < len(code):
        depth += {"{": 1, "}": -1}.get(code[end], 0)
        end += 1
    return end


def _expand(tree: str, prefix: tuple[str, ...] = ()) -> Iterator[_Use]:
    """The leaves of a use tree, such as `a::{b, c::{d as e, self}}`."""
    head, brace, rest = tree.strip().partition("{")
    segments = tuple(filter(None, (part.strip() for part in head.split("::"))))
    if brace:
        for part in _split(rest.rpartition("}")[0]):
            yield from _expand(part, prefix + segments)
        return
    if not segments:
        return
    last, _, alias = segments[-1].partition(" as ")
    path = (*prefix, *segments[:-1], last)
    if path[-1] == "self" and len(path) > 1:
        path = path[:-1]
    yield _Use(path, alias.strip() or path[-1])


def _split(members: str) -> Iterator[str]:
    depth, start = 0, 0
    for at, character in enumerate(members):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield members[start:at]
            start = at + 1
    yield members[start:]


def _resolve(
    modules: dict[tuple[str, ...], _Module],
    module: tuple[str, ...],
    path: tuple[str, ...],
    seen: frozenset[tuple[tuple[str, ...], tuple[str, ...]]] = frozenset(),
) -> tuple[str, ...] | None:
    """The module that defines what `path` names in `module`; None for another crate's, or a local name."""
    if (module, path) in seen:
        return None
    seen |= {(module, path)}
    first, rest = path[0], path[1:]
    if first == "crate":
        at: tuple[str, ...] = ()
    elif first == "self":
        at = module
    elif first == "super":
        at = module[:-1]
        while rest[:1] == ("super",):
            at, rest = at[:-1], rest[1:]
    elif (*module, first) in modules:
        at = (*module, first)
    else:
        return None
    for index, segment in enumerate(rest):
        if (*at, segment) in modules:
            at = (*at, segment)
            continue
        for use in modules[at].uses:
            if use.name == segment:
                return _resolve(modules, at, use.path + rest[index + 1 :], seen)
        break
    return at
