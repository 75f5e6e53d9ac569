"""The floors, and no import circle: read from the code, as docs/design.md has them."""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
from pathlib import Path

import pytest

from support.house import Graph, find_circle, python_graph, rust_code, rust_graph

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "prefork"
CRATES = ROOT / "crates"

# Each floor and the floors that it may import from, which all stand above it in this table.
FLOORS: dict[str, set[str]] = {
    "errors": set(),
    "forms": set(),
    "config": {"errors"},
    # The native module is generated from the options and reads them.
    "_engine": {"errors", "forms", "config"},
    "logs": {"errors", "_engine"},
    "kernel": {"errors", "_engine", "logs"},
    "server": {"errors", "_engine", "config", "logs", "kernel"},
    "pool": {"errors", "_engine", "config", "logs", "kernel", "server"},
    "hosting": {"errors", "_engine", "config", "logs", "kernel", "server", "pool"},
    "status": {"errors", "_engine", "config", "logs", "pool"},
    "admin": {"errors", "_engine", "config", "logs", "server", "pool", "status"},
    "cli": {"errors", "config", "logs", "hosting", "status", "admin"},
    # It starts the command line as a process of its own.
    "contrib": {"config"},
    "__init__": {"errors", "forms", "_engine", "kernel", "server", "pool", "hosting", "admin"},
    "__main__": {"cli"},
}
CRATE_FLOORS: dict[str, set[str]] = {
    "prefork-wire": set(),
    "prefork-tls": set(),
    "prefork-engine": {"prefork-wire", "prefork-tls"},
    "prefork-sandbox": set(),
    "prefork-python": {"prefork-wire", "prefork-tls", "prefork-engine", "prefork-sandbox"},
}


def floor_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def crate_of(manifest: Path) -> str:
    name: str = tomllib.loads(manifest.read_text())["package"]["name"]
    return name


def whole_graph() -> Graph:
    """The package's imports, with those that the native module makes when it runs."""
    graph = python_graph(PACKAGE)
    native = graph["prefork._engine"]
    for file in (CRATES / "python" / "src").rglob("*.rs"):
        for name in re.findall(r'(?:"|import_exception!\()(prefork\.\w+(?:\.\w+)*)', file.read_text()):
            native |= ({name} & graph.keys()) - {"prefork._engine"}
    return graph


@functools.cache
def parts() -> dict[str, Graph]:
    """The graph of each floor and of each crate, without what it uses of others."""
    graph = whole_graph()
    inside = {
        floor: {
            module: {other for other in used if floor_of(other) == floor}
            for module, used in graph.items()
            if floor_of(module) == floor
        }
        for floor in FLOORS
    }
    return inside | {crate_of(file): rust_graph(file.parent / "src") for file in CRATES.glob("*/Cargo.toml")}


def test_every_folder_and_crate_has_a_floor() -> None:
    assert {floor_of(module) for module in whole_graph()} == FLOORS.keys()
    assert {crate_of(file) for file in CRATES.glob("*/Cargo.toml")} == CRATE_FLOORS.keys()


def test_the_table_goes_one_way() -> None:
    floors = list(FLOORS)
    for floor, allowed in FLOORS.items():
        assert allowed <= set(floors[: floors.index(floor)]), floor


def test_each_floor_imports_only_what_is_under_it() -> None:
    upward = [
        f"{module} imports {other}"
        for module, used in whole_graph().items()
        for other in used
        if floor_of(other) not in FLOORS[floor_of(module)] | {floor_of(module)}
    ]
    assert upward == []


@pytest.mark.parametrize("part", [*FLOORS, *CRATE_FLOORS])
def test_no_part_has_an_import_circle(part: str) -> None:
    circle = find_circle(parts()[part])
    assert circle is None, " -> ".join(circle)


def test_each_crate_depends_only_on_what_is_under_it() -> None:
    for file in CRATES.glob("*/Cargo.toml"):
        manifest = tomllib.loads(file.read_text())
        ours = {name for name in manifest["dependencies"] if name.startswith("prefork-")}
        assert ours <= CRATE_FLOORS[crate_of(file)], file
    assert "pyo3" not in (CRATES / "engine" / "Cargo.toml").read_text()
    assert not re.search("pyo3|rustix|libc", (CRATES / "wire" / "Cargo.toml").read_text())


def test_the_wire_has_no_socket_clock_file_or_thread() -> None:
    outside = re.compile(r"std::(?:time|thread|fs|os|process|env|io)\b|Tcp\w+|Udp\w+|Unix\w+")
    for file in (CRATES / "wire" / "src").rglob("*.rs"):
        assert outside.findall(file.read_text()) == [], file.name


def test_the_tls_crate_has_no_socket_clock_file_thread_or_unsafe_code() -> None:
    outside = re.compile(r"std::(?:time|thread|fs|os|process|env|net)\b|Tcp\w+|Udp\w+|Unix\w+|rustix|libc")
    source = CRATES / "tls" / "src"
    for file in source.rglob("*.rs"):
        assert outside.findall(file.read_text()) == [], file.name
    assert "#![forbid(unsafe_code)]" in (source / "lib.rs").read_text()


def test_only_the_transport_reads_and_writes_a_client() -> None:
    """TLS and the hand-off depend on it. The queue has sockets of its own, between the workers, and a log may
    go to one.
    """
    names = "(?:recv|recvfrom|recvmsg|send|sendto|sendmsg|sendfile|shutdown)"
    call = re.compile(rf"\b(?:net|fs)::{names}\s*\(")
    imported = re.compile(rf"\buse rustix::(?:net|fs)::[^;]*\b{names}\b")
    source = CRATES / "engine" / "src"
    code = {str(file.relative_to(source)): rust_code(file.read_text()) for file in source.rglob("*.rs")}
    found = {name for name, text in code.items() if call.search(text)}
    transport = {f"transport/{name}.rs" for name in ("receiving", "sending", "detached")} | {"transport.rs"}
    assert found == transport | {"handoff/queue.rs", "access_log/destination.rs"}
    assert [name for name, text in code.items() if imported.search(text)] == []


def test_texts_name_the_actor() -> None:
    """A worker, a client or a handler does something; an unnamed person does not."""
    unnamed = re.compile(r"\b(?:nobody|somebody|anybody|everybody|whoever)\b", re.IGNORECASE)
    folders = ("python", "crates", "generate", "release", "bench", "examples", "docs")
    files = [*ROOT.glob("*.md"), *(file for folder in folders for file in (ROOT / folder).rglob("*.*"))]
    texts = [file for file in files if file.suffix in (".py", ".pyi", ".rs", ".md", ".toml")]
    assert [str(file) for file in texts if unnamed.search(file.read_text())] == []


def test_the_design_names_what_is_there() -> None:
    """Each file that docs/design.md names, and each function of its walks."""
    sources = [*PACKAGE.rglob("*.py"), *CRATES.glob("*/src/**/*.rs"), Path(__file__)]
    design = (ROOT / "docs" / "design.md").read_text()
    files = set(re.findall(r"[\w/.-]+\.(?:rs|py)\b", design))
    assert files
    assert [name for name in files if not any(f"/{file}".endswith(f"/{name}") for file in sources)] == []
    walks = design.partition("## Four walks")[2].partition("\n## ")[0]
    functions = set(re.findall(r"`(?:[A-Z]\w+|requests)(?:\.|::)([a-z_]\w+)`", walks))
    assert functions
    code = "\n".join(file.read_text() for file in sources)
    assert [name for name in functions if not re.search(rf"\b(?:fn|def) {name}\b", code)] == []


def test_each_promise_of_the_security_page_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    files = list((ROOT / "tests").rglob("test_*.py"))
    python = "".join(path.read_text() for path in files)
    rust = "".join(path.read_text() for path in CRATES.rglob("*.rs"))
    known = {path.name for path in files}
    known |= {*re.findall(r"def (test_\w+)", python), *re.findall(r"fn (\w+)", rust)}
    # Each has several words: other names on the page are not meant.
    named = set(re.findall(r"`(test_\w+(?:\.py)?|(?:[a-z]\w*_){3,}\w+)`", page))
    assert len(named) > 40
    assert named - known == set()


def test_no_condition_is_a_let_chain() -> None:
    """Rust has them since 1.88, and clippy's `incompatible_msrv` looks at the standard library only."""
    chain = re.compile(r"(?:if|while)\s+let\s[^{;]*&&|&&\s*let\s")
    for file in CRATES.rglob("*.rs"):
        assert chain.findall(rust_code(file.read_text())) == [], file


# The readers themselves.


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_python_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    package = write(
        tmp_path / "house",
        {
            "__init__.py": "",
            "a.py": "import os\nfrom house import b\nimport house.sub.c",
            "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.sub.c import x",
            "sub/__init__.py": "from .c import x",
            "sub/c.py": "def late():\n    from .. import a\n    from ..b import y",
        },
    )
    graph = python_graph(package)
    assert graph == {
        "house": set(),
        "house.a": {"house.b", "house.sub.c"},
        "house.b": {"house.sub.c"},
        "house.sub": {"house.sub.c"},
        "house.sub.c": {"house.a", "house.b"},
    }
    circle = find_circle(graph)
    assert circle is not None
    assert circle[0] == circle[-1]
    assert all(used in graph[user] for user, used in itertools.pairwise(circle))


def test_rust_uses_are_found_through_re_exports(tmp_path: Path) -> None:
    source = write(
        tmp_path / "src",
        {
            "lib.rs": "mod a;\npub mod b;\npub use a::{Thing, Other as Second};",
            "a.rs": "pub struct Thing; // use crate::b::c::No;\n"
            "#[cfg(test)]\nmod tests { use super::*; fn f() { if x {} } }\n"
            'const TEXT: &str = "use crate::b::No;";',
            "b/mod.rs": "mod c; mod d;\npub use self::c::{Deep, inner::Enum};\nfn f() { d::run() }",
            "b/c.rs": "use crate::Second;\nuse super::d::{self, Run as _};",
            "b/d.rs": "fn run() { let x: super::Deep = crate::Thing::new(); }\n"
            "use std::{fmt, io::{self, Read}};",
            "b/tests.rs": "use super::*;",
        },
    )
    assert rust_graph(source) == {
        "lib": {"a"},
        "a": set(),
        "b": {"b::c", "b::d"},
        "b::c": {"a", "b::d"},
        "b::d": {"a", "b::c"},
    }


def test_rust_items_of_a_parent_module_are_uses_of_it(tmp_path: Path) -> None:
    source = write(tmp_path, {"lib.rs": "mod a;\nuse a::f;\nconst N: u8 = 1;", "a.rs": "use super::N;"})
    assert find_circle(rust_graph(source)) in (["a", "lib", "a"], ["lib", "a", "lib"])


def test_calls_of_methods_in_another_module_are_uses_of_it(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        {
            "a.rs": "pub struct A<T>(T);\nimpl<T> A<T> { fn f(&self) { self.g(); self.h() } }\n",
            "b.rs": "use crate::a::A;\nimpl<T: Copy> A<T> { fn g(&self) {} }\nimpl Clone for A<u8> {}\n",
            "c.rs": "use crate::a::A;\nimpl A<u8> { fn not_called(&self) { self.g() } }",
            "d.rs": "#[cfg(test)]\nmod tests { use crate::a::A;\nimpl A<u8> { fn h(&self) {} } }",
        },
    )
    assert rust_graph(source) == {"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set()}
