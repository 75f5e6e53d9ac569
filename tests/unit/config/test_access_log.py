from __future__ import annotations

import pytest

from prefork.config.checked import check
from prefork.config.options import ServeOptions
from prefork.errors import OptionError


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("/healthz", ("/healthz",)),
        ("/a,/b/*", ("/a", "/b/*")),
        (["/a", "/b, /c"], ("/a", "/b", "/c")),
        ((), ()),
        ("*", ("*",)),
    ],
)
def test_paths_to_skip(given: object, paths: tuple[str, ...]) -> None:
    assert check(ServeOptions, {"access_log_skip": given}).access_log_skip == paths


@pytest.mark.parametrize("given", ["healthz", "/a b", ["/a", 1], 5, "/a*b", "/é"])
def test_what_is_no_path_is_refused(given: object) -> None:
    with pytest.raises(OptionError, match="expected paths such as /healthz"):
        check(ServeOptions, {"access_log_skip": given})
