from __future__ import annotations

import pytest

from prefork.config.checked import check
from prefork.config.options import ServeOptions
from prefork.config.static_files import IMMUTABLE, fallbacks, lifetimes, mounts
from prefork.config.values import Rejected
from prefork.errors import OptionError


def test_a_relative_directory_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    assert mounts("/static=files, /api=-") == (("/static", str(tmp_path / "files")), ("/api", "-"))


@pytest.mark.parametrize("given", ["a=., .=b", ("/a=.", "a=."), {"/a": ".", "a": "."}])
def test_an_error_shows_the_invalid_one_of_several_mounts(given):
    with pytest.raises(Rejected, match="/prefix=directory with an existing directory") as caught:
        mounts(given)
    assert caught.value.got in ("'a=.'", "('a', '.')")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/=index.html", (("", "index.html"),)),
        ("/app = /sub/index.html", (("/app", "sub/index.html"),)),
        ({"/a": "b.html", "/c": "d.html"}, (("/a", "b.html"), ("/c", "d.html"))),
    ],
)
def test_a_fallback_is_a_file_below_a_prefix(given, expected):
    assert fallbacks(given) == expected
    assert fallbacks(expected) == expected


@pytest.mark.parametrize(
    "given", ["index.html", "app=index.html", "/app=", "/app=/", "/app=a/", "/app=../a", "/app=.a", [7], 7]
)
def test_an_invalid_fallback_is_an_error(given):
    with pytest.raises(ValueError, match="/prefix=file"):
        fallbacks(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/a/*=0", "max-age=0"),
        ("/a/* = 90", "max-age=90"),
        ("/a/*=90s", "max-age=90"),
        ("/a/*=10m", "max-age=600"),
        ("/a/*=2h", "max-age=7200"),
        ("/a/*=30d", "max-age=2592000"),
        ("/a/*=1w", "max-age=604800"),
        ("/a/*=1y", "max-age=31536000"),
        ("/a/*=immutable", IMMUTABLE),
        ("/a/*=no-cache", "no-cache"),
        (
            ["/a/*=public, max-age=5, stale-while-revalidate=60"],
            "public, max-age=5, stale-while-revalidate=60",
        ),
        ({"/a/*": 3600}, "max-age=3600"),
    ],
)
def test_a_lifetime_is_a_cache_control(given, expected):
    assert lifetimes(given) == (("/a/*", expected),)
    assert lifetimes(lifetimes(given)) == (("/a/*", expected),)


@pytest.mark.parametrize(
    "given",
    [
        "/a",
        "a=1h",
        "=1h",
        "/a=",
        "/a=1x",
        "/a=-1",
        "/a=imutable",
        "/a=max-age",
        ["/a=no-cache\r\nX: y"],
        5,
        [None],
    ],
)
def test_an_invalid_lifetime_is_an_error(given):
    with pytest.raises(ValueError, match="pattern=time"):
        lifetimes(given)


def test_a_comma_begins_a_pair_if_a_pattern_follows():
    text = "/a=public, max-age=60,*.js=immutable , /b,c=1h,/d=no-cache,no-transform"
    assert lifetimes(text) == (
        ("/a", "public, max-age=60"),
        ("*.js", IMMUTABLE),
        ("/b,c", "max-age=3600"),
        ("/d", "no-cache,no-transform"),
    )


def test_names_of_files_and_directories_may_have_commas(tmp_path):
    (tmp_path / "a, b").mkdir()
    assert mounts(f"/c={tmp_path}/a, b, /d=-") == (("/c", f"{tmp_path}/a, b"), ("/d", "-"))
    assert fallbacks("/a=b,c.html,/d=e.html") == (("/a", "b,c.html"), ("/d", "e.html"))


def test_a_lifetime_needs_a_directory(tmp_path):
    assert check(ServeOptions, {"static": [("/a", str(tmp_path))], "static_cache": "*=1d"}).static_cache
    with pytest.raises(OptionError, match="static_cache: there is no static directory"):
        check(ServeOptions, {"static_cache": "*=1d"})


def test_a_fallback_needs_its_directory_and_its_file(tmp_path):
    (tmp_path / "index.html").touch()
    there = {"static": [("/app", str(tmp_path)), ("/api", "-")]}
    assert check(ServeOptions, {**there, "static_fallback": "/app=index.html"}).static_fallback
    for fallback, told in (
        ("/=index.html", "no static directory has the prefix /"),
        ("/api=index.html", "no static directory has the prefix /api"),
        ("/app=none.html", f"there is no file none.html in {tmp_path}"),
    ):
        with pytest.raises(OptionError, match=told):
            check(ServeOptions, {**there, "static_fallback": fallback})
