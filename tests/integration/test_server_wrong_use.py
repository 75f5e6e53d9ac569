"""Wrong use through `prefork serve`: one line on standard error, exit status 2, no traceback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

import pytest

from support.server import Finished, run_prefork, write_app

APP = """
    from prefork import HTTPServer, Kernel, Session, event

    class Pages(Session):
        alias = "PAGES"

        @event
        def page(self, request, response, pattern):
            response.done()

    kernel = Kernel()
    kernel.add(Pages())
    server = HTTPServer(kernel, {options})

    {more}

    text = "no server"
"""


def complaint(tmp_path: Path, *arguments: str, options: str = "", more: str = "", name: str = "") -> str:
    """The one line that `prefork serve` of this application prints before it exits."""
    path = write_app(tmp_path, APP.format(options=options, more=more))
    bind = () if "--bind" in arguments else ("--bind", "127.0.0.1:0")
    return one_line(run_prefork("serve", f"{path}{name}", *bind, *arguments))


def one_line(done: Finished) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("prefork: ")
    return done.stderr.strip()


def handlers(*entries: str) -> str:
    good = '{"dir": "^/", "session": "PAGES", "event": "page"}'
    return f"handlers=[{', '.join((good, *entries))}]"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            handlers('{"dir": "^/(x", "session": "PAGES", "event": "page"}'),
            "app.py:13: handler 1: malformed regex '^/(x': missing ), unterminated subpattern at position 2",
        ),
        (
            handlers('{"dir": "^/", "event": "page"}'),
            "handler 1: expected an alias, a session or its id as 'session', got None",
        ),
        (
            handlers('{"dir": "^/", "session": "PAGES", "event": "page", "even": "x"}'),
            "handler 1: unknown key 'even'",
        ),
        (
            handlers('{"dir": "^/", "session": "NOBODY", "event": "page"}'),
            "handler 1: no session has the alias 'NOBODY'",
        ),
        (
            handlers('{"dir": "^/", "session": "PAGES", "event": "got_page"}'),
            "handler 1: session PAGES has no event 'got_page'; it has page",
        ),
        ("handlers='^/'", "option handlers: expected a list of dicts"),
        ("handler=[]", "unknown option 'handler'; did you mean 'handlers'?"),
        ("port=70000", "option port: expected a whole number from 0 to 65535, got 70000"),
        ("domain='ipx'", "option domain: expected 'inet' or 'inet6' or 'unix', got 'ipx'"),
        ("keep_alive='perhaps'", "option keep_alive: expected true or false, got 'perhaps'"),
        ("headers={'Bad Name': 'x'}", "option headers: expected header names (tokens)"),
        ("headers={'X': 'a\\r\\nb'}", "option headers: expected header names (tokens)"),
        ("log_handler='PAGES'", "option log_handler: expected a function, a (session, event) pair or None"),
        ("log_handler=('NOBODY', 'log')", "log_handler: no session has the alias 'NOBODY'"),
        ("setup_handler=('PAGES', 'log')", "setup_handler: session PAGES has no event 'log'"),
        ("alias='PAGES'", "alias 'PAGES' belongs to a Pages already; choose another"),
        ("min_spare_servers=5", "option min_spare_servers needs a PreForkServer"),
    ],
)
def test_an_option_that_cannot_be_used(tmp_path: Path, options: str, expected: str) -> None:
    assert expected in complaint(tmp_path, options=options)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            'server.handle("[a")(len)',
            "handler 0: malformed regex '[a': unterminated character set at position 0",
        ),
        ('server.handle("^/")(lambda page: page)', "no value for its parameter 'page'"),
    ],
)
def test_a_function_that_cannot_be_a_handler(tmp_path: Path, more: str, expected: str) -> None:
    assert expected in complaint(tmp_path, more=more)


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = complaint(tmp_path, "--bind", place)
    assert said == (
        f"prefork: cannot listen on {place}: Address already in use; stop what uses it or choose another"
    )


def test_a_taken_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "taken.sock")
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(path)
        taken.listen(0)
        said = complaint(tmp_path, "--bind", f"unix:{path}")
        assert said.startswith(f"prefork: cannot listen on {path}: Address already in use")
        with contextlib.ExitStack() as clients:  # also when no other client fits in its queue
            refused = 0
            while not refused:
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                refused = client.connect_ex(path)
            assert complaint(tmp_path, "--bind", f"unix:{path}") == said
    assert os.path.exists(path)


def test_a_file_where_a_unix_socket_should_be(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("precious")
    assert "a file that is no socket is there" in complaint(tmp_path, "--bind", f"unix:{path}")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (
            "192.0.2.1:0",
            "cannot listen on 192.0.2.1:0: Cannot assign requested address; it is not an address of this",
        ),
        ("unix:/no/such/directory/sock", "No such file or directory; make the directory first"),
        ("unix:/" + "x" * 200, "it has 201 bytes, and the system takes 107; choose a shorter one"),
        ("nonsense", "--bind: expected host:port, [IPv6]:port, a port, unix:/path, unix:@name, fd://"),
        ("127.0.0.1:99999", "--bind: expected a port from 0 to 65535"),
        ("no.such.host.invalid:80", "cannot listen on no.such.host.invalid: "),
    ],
)
def test_an_address_that_cannot_be_had(tmp_path: Path, place: str, expected: str) -> None:
    assert expected in complaint(tmp_path, "--bind", place)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (":servr", "app.py:server?"),
        (":text", "is of type str, which cannot be called; expected a WSGI application"),
        (":Pages", "is the class Pages"),
    ],
)
def test_a_name_that_is_no_server(tmp_path: Path, name: str, expected: str) -> None:
    assert expected in complaint(tmp_path, name=name)


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "missing.py"
    assert one_line(run_prefork("serve", str(path))) == (
        f"prefork: {path} cannot be read: No such file or directory"
    )
    assert "there is no module 'no_such_module'" in one_line(run_prefork("serve", "no_such_module"))


# Root may read everything, unless it gives that power away.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(UNPRIVILEGED) and not shutil.which("setpriv"), reason="root without setpriv")
def test_a_target_that_may_not_be_read(tmp_path: Path) -> None:
    path = write_app(tmp_path, APP)
    path.chmod(0)
    done = run_prefork("serve", str(path), prefix=UNPRIVILEGED)
    assert "cannot be read: Permission denied" in one_line(done)


def test_a_target_that_is_a_directory(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in one_line(run_prefork("serve", f"{tmp_path}/"))


def test_a_target_that_is_not_python(tmp_path: Path) -> None:
    path = write_app(tmp_path, "server = (\n")
    assert one_line(run_prefork("serve", str(path))) == f"prefork: {path}:1: '(' was never closed"


def test_a_target_without_a_server(tmp_path: Path) -> None:
    path = write_app(tmp_path, "answer = 42\n")
    assert "has nothing to serve at its top level" in one_line(run_prefork("serve", str(path)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--no-such-option",), "No such option"),
        (("--max-body", "much"), "--max-body: expected bytes from 0"),
        (("--min-spare", "3"), "--min-spare needs a PreForkServer"),
        (("--config", "missing.toml"), "missing.toml cannot be read: No such file or directory"),
        (("--access-log", "/no/such/directory/log"), "access log /no/such/directory/log cannot be written"),
        (("--chdir", "/no/such/directory"), "--chdir: expected an existing directory"),
    ],
)
def test_a_flag_that_cannot_be_used(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in complaint(tmp_path, *arguments)


def test_a_wrong_environment_variable(tmp_path: Path) -> None:
    path = write_app(tmp_path, APP.format(options="", more=""))
    said = one_line(run_prefork("serve", str(path), env={"PREFORK_MAX_HEAD": "1"}))
    assert "PREFORK_MAX_HEAD: expected bytes from 1024" in said


@pytest.mark.parametrize("options", ["port={port}", "address='127.0.0.1', port={port}"])
def test_a_port_in_use_without_bind(tmp_path: Path, options: str) -> None:
    with socket.create_server(("", 0), family=socket.AF_INET) as taken:
        path = write_app(tmp_path, APP.format(options=options.format(port=taken.getsockname()[1]), more=""))
        assert "Address already in use" in one_line(run_prefork("serve", str(path)))
