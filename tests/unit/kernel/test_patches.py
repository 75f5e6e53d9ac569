from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from prefork import Kernel
from prefork.errors import TargetError
from prefork.kernel.patches import refuse_patches


@pytest.mark.parametrize(
    ("module", "attribute"), [("gevent.monkey", "saved"), ("eventlet.patcher", "already_patched")]
)
def test_monkey_patches_are_refused(monkeypatch, module, attribute):
    library = module.partition(".")[0]
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{attribute: {"socket": 1}}))
    with pytest.raises(
        TargetError, match=f"app.py uses the monkey patches of {library}, whose loop does not"
    ):
        refuse_patches("app.py")
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{attribute: {}}))
    refuse_patches("app.py")


def test_a_program_whose_library_is_patched_ends_with_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(saved={"selectors": {}}))
    with pytest.raises(SystemExit) as ended:
        Kernel().run()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prefork: the program uses the monkey patches of gevent, ")
