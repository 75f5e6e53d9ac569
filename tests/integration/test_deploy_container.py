"""The image and the services of deploy/, without a container engine.

Seen here: that the Dockerfile and compose.yaml are what their programs expect and fit each other, and that a
server with the image's own command, variables and health check works as a container has it: as PID 1 of
another user without capabilities, on a file system that can only be read (bubblewrap). Not seen: that the
image builds, the seccomp filter of a container engine, and its network.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from prefork.config.checked import options_of
from prefork.config.options import PreForkOptions, ServeOptions
from support.admin import LOCAL, admin_url, get
from support.apps import APPS
from support.deploy import DEPLOY, ROOT, SOCKET, edited, health_command, image, needs, stages, variables
from support.processes import children
from support.proxies import free_port
from support.server import Serve, Server, start_server, write_app
from support.waiting import wait_until

SHOP = ROOT / "examples" / "wsgi.py"
USER = 10001


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def option_variables() -> set[str]:
    """The names of the variables that set an option."""
    flags = {option.flag for kind in (PreForkOptions, ServeOptions) for option in options_of(kind).values()}
    return {"PREFORK_" + flag.removeprefix("--").replace("-", "_").upper() for flag in flags if flag}


# --- the Dockerfile ----------------------------------------------------------------------------------------


def sources() -> list[str]:
    """What is copied from the build context."""
    copied = [one.words for stage in stages().values() for one in stage.instructions if one.name == "COPY"]
    return [
        source
        for words in copied
        if not any(word.startswith("--from=") for word in words)
        for source in [word for word in words if not word.startswith("--")][:-1]
    ]


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    assert {"Cargo.toml", "python", "examples/wsgi.py"} <= set(sources())
    rules = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] != "#"]
    assert rules[0] == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    for source in sources():
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in sent, source
        assert not any(fnmatch.fnmatch(source, rule) for rule in rules[1:] if rule[0] != "!"), source


@needs("cargo")
def test_what_is_sent_to_the_builder_is_enough_to_build(tmp_path: Path) -> None:
    """As far as Cargo looks before it compiles, and maturin at what pyproject.toml names."""
    for source in sources():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("*.so", "corpus"))
        else:
            (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, tmp_path / source)
    cargo = ["cargo", "metadata", "--no-deps", "--locked", "--offline", "--format-version", "1"]
    done = subprocess.run(cargo, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert (tmp_path / project["tool"]["maturin"]["manifest-path"]).exists()
    assert (tmp_path / project["project"]["readme"]).exists()
    for pattern in project["project"]["license-files"]:
        assert list(tmp_path.glob(pattern)), pattern


def test_each_stage_is_made_from_one_before_or_from_a_slim_image() -> None:
    known: set[str] = set()
    for stage in stages().values():
        assert stage.base in known or "-slim-" in stage.base, stage.base
        for one in stage.instructions:
            for source in re.findall(r"from=(\w+)", " ".join(one.words)):
                assert source in known
        known.add(stage.name)


def test_the_image_has_no_compiler_and_not_the_user_root() -> None:
    assert image().base == stages()["server"].base
    assert "apt-get" not in str(image().instructions)
    user, _, group = image().last("USER")[0].partition(":")
    assert (int(user), int(group)) == (USER, USER)  # a number: Kubernetes looks at no name


def test_each_variable_of_the_image_is_an_option() -> None:
    named = {name for name in variables() if name.startswith("PREFORK_")}
    assert named
    assert named <= option_variables()
    assert image().last("EXPOSE") == [variables()["PORT"]]


# --- compose.yaml ------------------------------------------------------------------------------------------


def test_compose_takes_the_file(tmp_path: Path) -> None:
    def check(file: Path) -> subprocess.CompletedProcess[str]:
        schema = ("--builtin-schema", "vendor.compose-spec")
        command = [sys.executable, "-m", "check_jsonschema", *schema, str(file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = check(DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(edited("compose.yaml", {"read_only": "readonly"}))
    assert check(wrong).returncode == 1


def test_the_services_fit_the_image_and_nginx() -> None:
    shop, nginx = compose()["services"]["shop"], compose()["services"]["nginx"]
    context = DEPLOY / shop["build"]["context"]
    assert (context / shop["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert set(shop["environment"]) <= option_variables()
    assert shop["environment"]["PREFORK_BIND"] == f"unix:{SOCKET}"
    assert f"unix:{SOCKET};" in edited("nginx.conf", {})
    shared = f"socket:{Path(SOCKET).parent}"
    assert shared in shop["volumes"]
    assert shared in nginx["volumes"]
    owner = compose()["volumes"]["socket"]["driver_opts"]["o"]
    assert owner.startswith(f"uid={USER},gid={USER},")
    mounted = [volume.split(":") for volume in nginx["volumes"] if volume.startswith("./")]
    assert ["./nginx.conf", "/etc/nginx/conf.d/default.conf", "ro"] in mounted
    for certificate in re.findall(r"ssl_certificate\w* (.*);", edited("nginx.conf", {})):
        assert str(Path(certificate).parent) in [inside for _, inside, _ in mounted]
    stop_s = int(shop["stop_grace_period"].removesuffix("s"))
    assert stop_s > int(shop["environment"]["PREFORK_GRACEFUL_TIMEOUT"]) + 2


@needs("openssl")
def test_the_certificate_of_the_page_is_one_that_the_services_take(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "deployment.md").read_text().replace("\\\n", "")
    (command,) = re.findall(r"^openssl req .*$", page, re.MULTILINE)
    (tmp_path / "deploy" / "tls").mkdir(parents=True)
    subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, timeout=30, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "deploy/tls/cert.pem", tmp_path / "deploy/tls/key.pem")
    (name,) = re.findall(r"server_name (.*);", edited("nginx.conf", {}))
    assert f"DNS:{name}" in command
    assert f"{name}:443" in page


# --- a server with the image's command, variables and health check -----------------------------------------


@needs("bwrap")
def test_the_command_of_the_image_runs_in_a_container() -> None:
    with container() as (server, first, port, admin):
        lines = Path(f"/proc/{first}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        assert status["NSpid"].split()[-1] == "1"
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert int(status["NoNewPrivs"]) == 1
        server.host, server.port = "127.0.0.1", port
        assert server.get("/").startswith(b"Hello from WSGI")
        assert "control socket" not in server.log
        assert "control.sock" not in server.log
        assert healthy(admin)
        body = b"name=" + b"x" * (1 << 20)  # too large for memory: it goes to a file in /tmp
        assert server.request("/greet", "POST", body)[0] == 200
        os.kill(first, signal.SIGHUP)
        wait_until(lambda: generation(admin) == 2, "a reload")
        os.kill(first, signal.SIGTERM)
        assert server.wait() == 0
        assert not healthy(admin)


@needs("bwrap")
def test_a_container_without_any_place_to_write_serves_all_the_same() -> None:
    with container(writable=False) as (server, first, port, admin):
        server.host, server.port = "127.0.0.1", port
        assert server.get("/").startswith(b"Hello from WSGI")
        assert healthy(admin)
        server.wait_log("control socket")
        os.kill(first, signal.SIGTERM)
        assert server.wait() == 0


@contextmanager
def container(*, writable: bool = True) -> Iterator[tuple[Server, int, int, int]]:
    """The server, its first process, its port and that of its admin listener. With `writable` /tmp is a file
    system of its own, and nothing else can be written.
    """
    port, admin = free_port(), free_port()
    environ = variables() | {"PORT": str(port), "PREFORK_ADMIN": f"127.0.0.1:{admin}"}
    prefork, serve, target, *options = image().last("CMD")
    assert (prefork, serve, target) == ("prefork", "serve", "shop:app")
    places = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    if writable:
        # What the test itself needs may be below it.
        places += ["--tmpfs", "/tmp", "--ro-bind", str(ROOT), str(ROOT)]
    user = ["--unshare-user", "--uid", str(USER), "--gid", str(USER)]
    first_process = ["--unshare-pid", "--as-pid-1", "--cap-drop", "ALL", "--die-with-parent"]
    run = [sys.executable, "-m", "prefork", serve, f"{SHOP}:app", *options]
    server = Server(
        subprocess.Popen(
            ["bwrap", *places, *user, *first_process, "--chdir", str(SHOP.parent), *run],
            env=environ | {"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    try:
        server.wait_serving()
        (first,) = children(server.pid)
        yield server, first, port, admin
    finally:
        server.kill()


def healthy(admin_port: int) -> bool:
    """What the health check of the image says."""
    python, *words = health_command()
    assert python == "python"
    place = variables()["PREFORK_ADMIN"]
    assert any(place in word for word in words)
    words = [word.replace(place, f"127.0.0.1:{admin_port}") for word in words]
    done = subprocess.run([sys.executable, *words], capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def generation(admin_port: int) -> int:
    number: int = json.loads(get(f"http://127.0.0.1:{admin_port}", "/status.json"))["manager"]["generation"]
    return number


def port_of(server: Server) -> int:
    return int(admin_url(server).rpartition(":")[2])


LOADS_LONG = """
import os, time
while os.path.exists({hold!r}):
    time.sleep(0.01)
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
"""


def test_a_server_that_loads_its_application_is_healthy(tmp_path: Path) -> None:
    hold, port = tmp_path / "hold", free_port()
    hold.touch()
    app = write_app(tmp_path, LOADS_LONG.format(hold=str(hold)))
    server = start_server(f"{app}:app", "--bind", "127.0.0.1:0", "--admin", f"127.0.0.1:{port}")
    try:
        wait_until(lambda: healthy(port), "the manager")
        assert not [line for line in server.out if "serving" in line]
        hold.unlink()
        assert server.wait_serving().get() == b"ok"
    finally:
        server.kill()


def test_a_server_of_which_every_worker_is_busy_is_healthy(serve: Serve) -> None:
    server = serve(APPS / "node.py", "--workers", "1", "--admin", LOCAL, env={"NODE": "one"})
    with server.connect() as sock:
        sock.sendall(b"GET /?30 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.workers("active"), "the request")
        assert healthy(port_of(server))
        done = json.loads(get(admin_url(server), "/status.json"))
        assert done["totals"]["active"] == 1
