"""The directory of the control sockets: no other user has a way in."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork.admin import run_directory
from prefork.admin.run_directory import Unusable, find_run_directory, sweep


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The candidates: two directories that this test may spoil."""
    found = [tmp_path / "first" / "prefork", tmp_path / "second" / "prefork"]
    for place in found:
        place.parent.mkdir()
    pairs = [(str(place), str(place.parent)) for place in found]
    monkeypatch.setattr(run_directory, "_candidates", lambda: iter(pairs))
    return found


def test_the_first_one_is_made_for_this_user_alone(places: list[Path]) -> None:
    assert find_run_directory() == str(places[0])
    assert places[0].stat().st_mode & 0o777 == 0o700
    assert find_run_directory() == str(places[0])


def test_one_that_is_open_to_others_is_closed(places: list[Path]) -> None:
    places[0].mkdir()
    places[0].chmod(0o777)
    assert find_run_directory() == str(places[0])
    assert places[0].stat().st_mode & 0o777 == 0o700


def test_a_link_a_file_and_a_missing_parent_are_passed_over(places: list[Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    places[0].symlink_to(tmp_path / "elsewhere")
    assert find_run_directory() == str(places[1])
    places[0].unlink()
    places[0].touch()
    assert find_run_directory() == str(places[1])
    places[0].unlink()
    places[0].parent.rmdir()
    assert find_run_directory() == str(places[1])


def test_a_parent_in_which_another_user_may_replace_it_is_passed_over(places: list[Path]) -> None:
    places[0].parent.chmod(0o777)
    assert find_run_directory() == str(places[1])
    places[0].parent.chmod(0o1777)  # as /tmp
    assert find_run_directory() == str(places[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_one_of_another_user_is_passed_over(places: list[Path]) -> None:
    places[0].mkdir()
    os.chown(places[0], 1234, 1234)
    assert find_run_directory() == str(places[1])
    os.chown(places[1].parent, 1234, 1234)
    with pytest.raises(Unusable, match=r"it belongs to another user; .*another user may replace it"):
        find_run_directory()


def test_the_runtime_directory_of_the_user_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.geteuid()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/mine")
    found = [path for path, _ in run_directory._candidates()]
    assert found == ["/run/mine/prefork", f"/run/user/{uid}/prefork", f"/tmp/prefork-{uid}"]
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert [path for path, _ in run_directory._candidates()] == found[1:]


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[dict[str, socket.socket]]:
    found = {}
    for name in ("alive.sock", "dead.sock", "dead.other"):
        found[name] = socket.socket(socket.AF_UNIX)
        found[name].bind(str(tmp_path / name))
        if name.startswith("alive"):
            found[name].listen()
        else:
            found[name].close()
    yield found
    for one in found.values():
        one.close()


@pytest.mark.usefixtures("bound")
def test_only_sockets_of_dead_managers_are_swept(tmp_path: Path) -> None:
    (tmp_path / "file.sock").touch()
    (tmp_path / "link.sock").symlink_to(tmp_path / "dead.sock")
    sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["alive.sock", "dead.other", "file.sock", "link.sock"]
    sweep("/no/such/directory")
