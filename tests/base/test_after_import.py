"""Something is done once a library has been imported, and it is not imported for that."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from actors._base.after_import import after_import


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "rarely_used.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "rarely_used", raising=False)
    return "rarely_used"


def test_it_is_done_after_the_import_and_once(library: str) -> None:
    done: list[ModuleType] = []
    after_import(library, done.append)
    assert library not in sys.modules
    module = import_module(library)
    assert import_module(library) is module
    assert done == [module]
    assert module.value == 1
    assert type(module.__loader__).__name__ == type(module.__spec__.loader).__name__  # type: ignore[union-attr] # it has one
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    after_import(library, done.append)
    assert done == [module, module]


def test_what_is_not_installed_is_as_absent_as_ever() -> None:
    after_import("nobody_has_this_library", print)
    with pytest.raises(ModuleNotFoundError):
        import_module("nobody_has_this_library")


def test_a_system_logs_without_structlog_and_a_program_that_imports_it_later_logs_there() -> None:
    code = (
        "import sys\n"
        "from actors._base.log import system_logger\n"
        "from actors._base.std_logging import join_logging\n"
        "join_logging(both_ways=False)\n"
        "system_logger(node='web/0').bind(a=1).info('ours', b=2)\n"
        "assert 'structlog' not in sys.modules\n"
        "import structlog\n"
        "structlog.get_logger().warning('theirs', c=3)\n"
        "system_logger().debug('not written')\n"
        "system_logger().error('ours again')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"ACTORS_LOG_FORMAT": "json", "ACTORS_LOG": "info"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [list(line)[:4] for line in lines] == [["timestamp", "level", "event", "node"]] * 3
    for line in lines:
        del line["timestamp"]
    assert lines == [
        {"level": "info", "event": "ours", "node": "web/0", "a": 1, "b": 2},
        {"level": "warning", "event": "theirs", "node": "system", "c": 3},
        {"level": "error", "event": "ours again", "node": "system"},
    ]
