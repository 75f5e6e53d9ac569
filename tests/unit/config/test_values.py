from __future__ import annotations

import pytest

from prefork.config import values
from prefork.config.values import TrustedProxies, trusted_proxies


def test_other_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    assert values.directory("files") == str(tmp_path / "files")
    assert values.output_file("access.log") == str(tmp_path / "access.log")
    assert values.output_file("-") == "-"


def test_a_path_prefix_is_text_that_begins_with_a_slash():
    assert values.path_prefix("/café/") == "/café"
    for given in ("shop", "/caf\udce9"):  # the second: a byte that is not UTF-8, as Python has it
        with pytest.raises(ValueError, match="a path in UTF-8 that begins with a slash"):
            values.path_prefix(given)


@pytest.mark.parametrize(("given", "mode"), [("660", 0o660), ("0660", 0o660), ("0o27", 0o27), (0o600, 0o600)])
def test_permissions_are_octal_in_a_text(given, mode):
    assert values.permissions(given) == mode


@pytest.mark.parametrize("given", ["", "680", "1777", "-1", 0o1000, -1, True, None])
def test_what_are_no_permissions_is_an_error(given):
    with pytest.raises(ValueError, match="octal permissions from 000 to 777"):
        values.permissions(given)


@pytest.mark.parametrize(
    ("given", "part"),
    [("10%", 0.1), ("0.1", 0.1), (0.1, 0.1), ("2.5%", 0.025), ("0%", 0), (0, 0), ("100%", 1)],
)
def test_a_share_is_a_percentage_or_a_part(given, part):
    assert values.share()(given) == pytest.approx(part)


@pytest.mark.parametrize(
    "given", ["10", "101%", 1.1, "-1%", -0.1, "%", "ten", "", True, None, float("nan"), "1e9%"]
)
def test_what_is_no_share_is_an_error(given):
    with pytest.raises(ValueError, match=r"a percentage such as 10%, or 0\.1, up to 100%"):
        values.share()(given)


@pytest.mark.parametrize(
    ("given", "pages"),
    [
        ("/", ("/",)),
        ("/a,/b?c=d,e,http://[::1]", ("/a", "/b?c=d,e", "http://[::1]")),
        (["/a,b", "https://shop.example"], ("/a,b", "https://shop.example")),
        ((), ()),
    ],
)
def test_pages_are_paths_and_urls(given, pages):
    assert values.pages(given) == pages
    assert values.pages(pages) == pages


@pytest.mark.parametrize(
    "given", ["", "shop", "/a b", "/a#b", "/caf\u00e9", "ftp://a/", "http:///", "/a\r\n", 1, None]
)
def test_what_is_no_page_is_an_error(given):
    with pytest.raises(ValueError, match="a path such as /health, or a URL"):
        values.page(given)


@pytest.mark.parametrize("read", [values.user_name, values.group_name])
def test_users_and_groups_have_names_and_ids(read):
    assert (read("root"), read("0"), read(4711)) == ("root", "0", "4711")
    for given in ("no-such-name", "", "4294967295", -1, True, None, "a\0"):
        with pytest.raises(ValueError, match="the name or the id of a"):
            read(given)


@pytest.mark.parametrize(
    ("given", "networks"),
    [
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        (" 127.0.0.1 , ::1,unix,", ("127.0.0.1/32", "::1/128", "unix")),
        (["2001:DB8::/32", "192.0.2.1"], ("2001:db8::/32", "192.0.2.1/32")),
        ("*", ("*",)),
        ("", ()),
        ((), ()),
    ],
)
def test_trusted_proxies_are_networks(given, networks):
    read = trusted_proxies(given)
    assert read == TrustedProxies(networks, with_all=True)
    assert trusted_proxies(read) is read


@pytest.mark.parametrize(
    "given", ["10.0.0.1/8", "host", "10.0.0.0/33", "fe80::1%lo", "127.0.0.1:80", ["a"], [1], 1, None]
)
def test_what_is_no_network_is_an_error(given):
    with pytest.raises(ValueError, match=r"networks such as 10.0.0.0/8, addresses, 'unix' or '\*'"):
        trusted_proxies(given)
