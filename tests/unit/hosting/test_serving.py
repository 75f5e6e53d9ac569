from __future__ import annotations

import logging
import os
import sys

import pytest

from prefork import HTTPServer, Kernel, PreForkServer
from prefork._engine import AccessLog
from prefork.config.sources import gather
from prefork.errors import OptionError
from prefork.hosting import configuring, serving
from prefork.hosting.pid_file import pid_file
from prefork.hosting.target import Target


def configured(kind, *flags_and_code, **flags):
    (code,) = flags_and_code or ({},)
    kernel = Kernel()
    server = kind(kernel, **code)
    configuring.configure("app.py", Target(kernel, [server]), gather(None, {}, flags))
    return server.options


def test_what_was_said_outside_is_over_what_the_code_says():
    options = configured(PreForkServer, {"port": 80, "max_clients": 7, "debug": True}, max_clients="9")
    assert (options.port, options.max_clients, options.debug) == (80, 9, True)


@pytest.mark.parametrize(
    ("code", "flags", "where"),
    [
        ({}, {}, ("127.0.0.1", 8000)),
        ({"port": 0}, {}, (None, 0)),
        ({"address": "::1"}, {}, ("::1", None)),
    ],
)
def test_a_server_without_an_address_listens_on_this_machine_only(code, flags, where):
    options = configured(HTTPServer, code, **flags)
    assert (options.address, options.port) == where


@pytest.mark.parametrize("code", [{}, {"port": 80, "domain": "inet6"}, {"listeners": ["81", "82"]}])
def test_the_command_line_says_where_to_listen_and_not_the_code(code):
    options = configured(HTTPServer, code, bind=("unix:/run/site",))
    assert [str(one) for one in options.endpoints] == ["unix:/run/site"]
    assert (options.address, options.port, options.domain) == (None, None, None)


def test_listeners_of_the_code_need_no_default():
    options = configured(HTTPServer, {"listeners": ["81", "82"]})
    assert [str(one) for one in options.endpoints] == [":81", ":82"]


def test_sockets_that_were_passed_are_served_by_default(monkeypatch):
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    assert [str(one) for one in configured(HTTPServer, {}).endpoints] == ["systemd:"]
    assert [str(one) for one in configured(HTTPServer, {}, bind="80").endpoints] == [":80"]


def test_a_platform_says_where_to_listen_if_nothing_else_does(monkeypatch):
    monkeypatch.setenv("PORT", "81")
    for kind in (HTTPServer, PreForkServer):
        assert (configured(kind, {}).address, configured(kind, {}).port) == ("0.0.0.0", 81)
        assert (configured(kind, {"port": 0}).address, configured(kind, {"port": 0}).port) == (None, 0)
        assert [str(one) for one in configured(kind, {}, bind="80").endpoints] == [":80"]
    monkeypatch.setenv("PORT", "")
    assert configured(HTTPServer, {}).port == 8000
    monkeypatch.setenv("PORT", "65536")
    with pytest.raises(OptionError, match="PORT: expected a whole number from 0 to 65535, got '65536'"):
        configured(HTTPServer, {})


def test_a_platform_says_how_many_workers_there_are_if_nothing_else_does(monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "3")

    def numbers(*code, **flags):
        found = configured(PreForkServer, *code, **flags)
        return found.start_servers, found.min_spare_servers, found.max_spare_servers, found.max_clients

    assert numbers({}) == (3, 3, 3, 3)
    assert numbers({"max_clients": 7}) == (7, 5, 10, 7)
    assert numbers({}, workers="2") == (2, 2, 2, 2)
    assert numbers({}, start="0") == (0, 5, 10, 256)
    assert configured(HTTPServer, {}).port == 8000


def test_a_server_without_a_pool_takes_no_options_of_one():
    with pytest.raises(OptionError, match="--min-spare needs a PreForkServer"):
        configured(HTTPServer, min_spare="2")


def test_one_of_several_servers_is_not_guessed_at():
    kernel = Kernel()
    servers = [HTTPServer(kernel, alias=alias, port=0) for alias in ("SITE", "ADMIN")]
    target = Target(kernel, servers)
    configuring.configure("app.py", target, {})
    with pytest.raises(OptionError, match=r"--bind: app.py has several servers \(ADMIN, SITE\)"):
        configuring.configure("app.py", target, gather(None, {}, {"bind": "80"}))


@pytest.fixture
def server():
    class Listening(HTTPServer):
        url = "http://127.0.0.1:8123"

    return Listening(Kernel(), port=0)


def serve(server):
    for function in server.on_serving:
        function(server)


def test_the_line_on_standard_output_tells_the_address(server, capsys):
    serving.print_address(server)
    assert capsys.readouterr().out == f"prefork: serving http://127.0.0.1:8123 (pid {os.getpid()})\n"


def test_the_pid_file_is_there_while_it_serves(server, tmp_path):
    path = tmp_path / "pid"
    with pid_file(str(path), server):
        assert not path.exists()
        serve(server)
        assert path.read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_successor_has_its_pid_file_on_disk_before_it_serves(server, tmp_path):
    path = tmp_path / "pid"
    path.write_text("1\n")
    with pid_file(str(path), server, is_successor=True):
        assert path.read_text() == "1\n"
        assert len(list(tmp_path.iterdir())) == 2
        server.on_serving[-1](server)
        assert path.read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_successor_that_never_served_leaves_no_file(server, tmp_path):
    path = tmp_path / "pid"
    path.write_text("1\n")
    with pid_file(str(path), server, is_successor=True):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["pid"]
    assert path.read_text() == "1\n"


def test_a_successor_serves_on_without_its_pid_file(server, tmp_path, caplog):
    directory = tmp_path / "run"
    directory.mkdir()
    with pid_file(str(directory / "pid"), server, is_successor=True):
        directory.rename(tmp_path / "away")
        server.on_serving[-1](server)
    assert "cannot be written: No such file or directory; it names the former process" in caplog.text


def test_a_server_that_never_served_leaves_the_pid_file_of_another_alone(server, tmp_path):
    path = tmp_path / "pid"
    path.write_text("1\n")
    with pid_file(str(path), server):
        pass
    assert path.read_text() == "1\n"


@pytest.fixture
def unwritable(tmp_path, monkeypatch):
    """A directory that this user may not write to, also if the tests are root's."""
    place = tmp_path / "theirs"
    place.mkdir(mode=0o555)
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and not (path == str(place) and mode & os.W_OK)
    )
    return place


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is a directory"),
        ("gone/pid", "its directory does not exist or is not ours"),
        ("file/pid", "its directory does not exist or is not ours"),
        ("theirs/pid", "its directory does not exist or is not ours"),
    ],
)
@pytest.mark.usefixtures("unwritable")
def test_a_pid_file_that_cannot_be_is_refused_before_anything_serves(server, tmp_path, name, reason):
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    path = os.path.abspath(tmp_path / name)
    with (
        pytest.raises(OptionError, match=f"pid file {path} cannot be written: {reason}"),
        pid_file(path, server),
    ):
        pytest.fail("it serves")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pid_file_that_cannot_be_any_more_is_one_line_and_no_file(server, tmp_path):
    path = tmp_path / "pid"
    with pid_file(str(path), server):
        path.mkdir()
        with pytest.raises(OptionError, match=r"pid file .* cannot be written: it is a directory"):
            serve(server)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["SECRET=1\n", "12 and more", "-1", "1" * 99])
@pytest.mark.parametrize("late", [False, True])
def test_a_file_that_holds_no_process_id_is_kept(server, tmp_path, content, late):
    path = tmp_path / ".env"
    if not late:
        path.write_text(content)
    with pytest.raises(OptionError, match="holds no process id"), pid_file(str(path), server):  # noqa: PT012
        path.write_text(content)
        serve(server)
    assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "4711", " 4711\n"])
def test_a_pid_file_that_was_left_behind_is_written_again(server, tmp_path, content):
    path = tmp_path / "pid"
    path.write_text(content)
    with pid_file(str(path), server):
        serve(server)
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_device_or_a_pipe_is_no_pid_file(server, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/null"):
        with pytest.raises(OptionError, match="holds no process id"), pid_file(path, server):
            pytest.fail("it serves")


def test_a_port_is_no_pid_file(server, tmp_path):
    with pytest.raises(OptionError, match="8000 is a number; for a port use --bind"):  # noqa: SIM117
        with pid_file(str(tmp_path / "8000"), server):
            pytest.fail("it serves")


APP = """\
import os
from prefork import HTTPServer, Kernel
kernel = Kernel()
server = HTTPServer(kernel, port=0)
os.environ["LOADED_IN"] = os.getcwd()
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `app.py` as far as its kernel, and gives the kernel."""
    logger = logging.getLogger("prefork")
    level = logger.level
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("LOADED_IN", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(APP)
    ran = []
    monkeypatch.setattr(Kernel, "run", lambda kernel: ran.append(kernel))

    def with_flags(**flags):
        serving.serve("app.py", gather(None, {}, flags))
        (kernel,) = ran
        return kernel

    yield with_flags
    for name in ("__target__", "app"):  # a file is also the module of its name
        sys.modules.pop(name, None)
    logger.setLevel(level)


def test_it_changes_directory_before_it_loads(run, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    run(chdir=str(tmp_path))
    assert os.environ["LOADED_IN"] == str(tmp_path)


def test_the_log_level_is_that_of_prefork_alone(run):
    root = logging.getLogger().level
    run(log_level="error")
    assert logging.getLogger("prefork").level == logging.ERROR
    assert logging.getLogger().level == root


def test_responses_are_logged_to_the_given_file(run, tmp_path):
    server = run(access_log="access.log").find("HTTPD")
    (log,) = server.access_logs
    assert isinstance(log, AccessLog)
    assert (tmp_path / "access.log").exists()
