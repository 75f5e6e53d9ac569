from __future__ import annotations

import sys

import pytest

from prefork.errors import TargetError
from prefork.hosting.target import load
from prefork.kernel.kernel import Kernel

ONE = """\
from prefork import HTTPServer, Kernel

kernel = Kernel()
server = HTTPServer(kernel, alias="SITE", port=8123)
"""
TWO = ONE + 'admin = HTTPServer(kernel, alias="ADMIN", port=8124)\n'
RUNS_ITSELF = ONE + 'kernel.run()\nraise SystemExit("what follows is for the script")\n'


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory to be in, as a function that writes a file there."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)

    return write


def refusal(target):
    with pytest.raises(TargetError) as caught:
        load(target)
    assert "\n" not in str(caught.value)
    return caught.value


def aliases(target):
    return [str(server) for server in load(target).servers]


@pytest.mark.parametrize(
    "target", ["app.py", "./app.py", "app", "app.py:server", "app.py:kernel", "app:server"]
)
def test_a_file_or_a_module_with_one_server(here, target):
    here("app.py", ONE)
    kernel, (server,) = load(target)
    assert isinstance(kernel, Kernel)
    assert server.options.port == 8123
    assert server.kernel is kernel


def test_a_module_in_a_package(here):
    here("site_/__init__.py", "")
    here("site_/app.py", ONE)
    assert aliases("site_.app") == ["SITE"]


@pytest.mark.parametrize("place", ["site_", "site_/__init__.py"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("wsgi", "did you mean site_.wsgi?"),
        ("wsgi.app", "did you mean site_.wsgi:app?"),
        ("inner", "did you mean site_.inner?"),
        ("wsgy", "did you mean 'wsgj'?"),
    ],
)
def test_a_module_of_a_package_that_was_taken_for_a_name(here, place, name, hint):
    here("site_/__init__.py", "wsgj = 1\n")
    here("site_/wsgi.py", "raise SystemExit('it was not asked for')\n")
    here("site_/inner/__init__.py", "")
    assert str(refusal(f"{place}:{name}")) == f"{place} has no {name!r}; {hint}"


def test_a_kernel_has_all_its_servers_and_a_named_server_is_alone(here):
    here("app.py", TWO)
    assert aliases("app.py") == aliases("app.py:kernel") == ["SITE", "ADMIN"]
    assert aliases("app.py:admin") == ["ADMIN"]


@pytest.mark.parametrize("target", ["app.py", "app", "app.py:server"])
def test_a_target_that_runs_its_kernel_is_loaded_up_to_there(here, target):
    here("app.py", RUNS_ITSELF)
    run = Kernel.run
    assert aliases(target) == ["SITE"]
    assert Kernel.run is run


def test_a_file_sees_its_neighbours_and_hides_no_module(here):
    here("web/neighbour.py", "PORT = 8125\n")
    here("web/logging.py", "from neighbour import PORT\n" + ONE.replace("8123", "PORT"))
    assert load("web/logging.py").servers[0].options.port == 8125
    import logging

    assert callable(logging.getLogger)


def test_a_file_that_its_neighbour_imports_is_loaded_once(here):
    here("shop.py", ONE + "import pages\nassert pages.shop.server is server\n")
    here("pages.py", "import shop\n")
    assert aliases("shop.py") == ["SITE"]


@pytest.mark.parametrize("target", ["site/web/app.py", "site/web/__init__.py"])
def test_a_file_of_a_package_is_a_module_of_it(here, target):
    for name in ("site", "site/web"):
        here(f"{name}/neighbour.py", "PORT = 8126\n")
    imports = "from . import neighbour\nimport web.neighbour, neighbour as same\nassert same.PORT\n"
    here("site/web/__init__.py", "" if target.endswith("app.py") else imports + ONE)
    here("site/web/app.py", imports + ONE)
    assert aliases(target) == ["SITE"]
    assert "web.app" in sys.modules or target.endswith("__init__.py")


def test_a_file_is_not_run_as_the_main_program(here):
    here("app.py", ONE + 'if __name__ == "__main__":\n    raise SystemExit\n')
    assert aliases("app.py") == ["SITE"]


@pytest.mark.parametrize(
    ("target", "content", "complaint"),
    [
        ("gone.py", "", "gone.py cannot be read: No such file or directory"),
        ("gone.py:server", "", "gone.py cannot be read: No such file or directory"),
        (".", "", "there is no module '.'"),
        ("./", "", "./ cannot be read: Is a directory"),
        ("", "", "there is no module ''"),
        ("gone", "", "there is no module 'gone'; .* --chdir sets the directory"),
        ("gone.deeper", "", "there is no module 'gone.deeper'"),
        ("no name", "", "there is no module 'no name'"),
        ("app.py", "x = (", "app.py:1: '(' was never closed"),
        ("app", "x = (", "app.py:1: '(' was never closed"),
        ("app.py", "x = 1\0", "null bytes"),
        (
            "app.py",
            "x = 1",
            "app.py has nothing to serve at its top level; expected an application called app",
        ),
        ("app.py:serve", ONE, "app.py has no 'serve'; did you mean app.py:server?"),
        ("app.py:make()", "make = 1", "app.py has no 'make()'; use app.py:make --factory"),
        ("app.server", ONE, "there is no module 'app.server'; .* did you mean app:server?"),
        ("app.py:x", "x = 1", "app.py:x is of type int, which cannot be called; expected a WSGI"),
        ("app.py", "from prefork import Kernel\nk = Kernel()", "its kernel has no HTTPServer to serve"),
        (
            "app.py",
            "from prefork import Kernel\nb = Kernel()\na = Kernel()",
            "app.py has several kernels (a, b): name one, as in app.py:a",
        ),
        (
            "app.py",
            ONE + "HTTPServer(kernel, prot=1)",
            "app.py:5: unknown option 'prot'; did you mean 'port'?",
        ),
    ],
)
def test_what_cannot_be_served_is_one_line_without_a_traceback(here, target, content, complaint):
    if content:
        here("app.py", content)
    error = refusal(target)
    assert all(part in str(error) for part in complaint.split(".* "))
    assert error.__cause__ is None


@pytest.mark.parametrize("target", ["app.py", "app"])
@pytest.mark.parametrize(
    ("content", "kind"), [("import missing_module_xyz", ModuleNotFoundError), ("1 / 0", ZeroDivisionError)]
)
def test_the_users_own_exception_keeps_its_traceback_from_their_file_on(here, target, content, kind):
    here("app.py", f"def broken():\n    {content}\n\nbroken()\n")
    error = refusal(target)
    assert str(error) == f"{target} could not be loaded"
    assert isinstance(error.__cause__, kind)
    trace = error.__cause__.__traceback__
    assert trace.tb_frame.f_code.co_filename.endswith("app.py")
    assert trace.tb_lineno == 4


def test_a_target_may_leave_by_itself(here):
    here("app.py", "raise SystemExit(3)")
    with pytest.raises(SystemExit, match="3"):
        load("app.py")


SHOP = """\
import functools
from types import SimpleNamespace

def helper(first, second): ...
def _private(environ, start_response): ...
def get_price(): ...
"""
APP = "def {name}(environ, start_response): ...\n"
ASGI = "class Site:\n    async def __call__(self, scope, receive, send): ...\nsite = Site()\n"
FACTORY = "def create_app(settings=None): ...\n"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (APP.format(name="app"), "; did you mean shop:app?"),
        (APP.format(name="applicaton"), "; did you mean shop:applicaton?"),
        (ASGI, "; did you mean shop:site?"),
        (FACTORY, "; did you mean shop:create_app --factory?"),
        (APP.format(name="app") + FACTORY, "; did you mean shop:app or shop:create_app --factory?"),
        (ASGI + FACTORY + ONE, "; did you mean shop:site, shop:create_app --factory or shop:kernel?"),
        ("app = lambda e, s: []\n", "; did you mean shop:app?"),
        ("from app_of_shop import app\n", "; did you mean shop:app?"),
        ("app = None\n", ""),
        ("", ""),
    ],
)
def test_a_name_that_is_missing_suggests_what_can_be_served(here, content, hint):
    here("app_of_shop.py", "def app(e, s): ...\n")
    here("shop.py", SHOP + content)
    assert str(refusal("shop:application")) == f"shop has no 'application'{hint}"


def test_a_module_without_the_usual_names_suggests_what_it_has(here):
    here("shop.py", SHOP + FACTORY)
    assert str(refusal("shop")).endswith("or a Kernel; did you mean shop:create_app --factory?")


def test_a_proxy_that_raises_is_no_suggestion(here):
    proxy = "class Proxy:\n    def __getattr__(self, name): raise RuntimeError(name)\nrequest = Proxy()\n"
    here("shop.py", SHOP + proxy + APP.format(name="app"))
    assert str(refusal("shop:nothing")) == "shop has no 'nothing'; did you mean shop:app?"
