"""`log_config` configures `logging` in every process node; one that cannot work is one error."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, System, Topology, nodes
from actors._base.log_config import checked_log_config
from actors.errors import InvalidSpec, StartFailed
from actors.testing import running_system

PATIENCE = 20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: `logging` knows nothing of loops."""
    return "asyncio", {"use_uvloop": True}


class Shop(Actor):
    """Logs on its node."""

    async def say(self) -> None:
        logging.getLogger("shop").debug("low ink")


def _dict(file: Path) -> dict[str, Any]:
    return {
        "version": 1,
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(file)}},
        "root": {"level": "DEBUG", "handlers": ["file"]},
    }


def _ini(file: Path) -> str:
    return f"""\
[loggers]
keys=root
[handlers]
keys=file
[formatters]
keys=plain
[logger_root]
level=DEBUG
handlers=file
[handler_file]
class=FileHandler
args=({str(file)!r},)
[formatter_plain]
format=%(message)s
"""


def _toml(file: Path) -> str:
    return (
        "version = 1\n"
        f"handlers.file = {{ class = 'logging.FileHandler', filename = '{file}' }}\n"
        "root = { level = 'DEBUG', handlers = ['file'] }\n"
    )


def test_a_configuration_may_be_a_dict_or_the_same_in_json_or_toml(tmp_path: Path) -> None:
    config = _dict(tmp_path / "kept")
    texts = {"json": json.dumps(config), "toml": _toml(tmp_path / "kept")}
    for form, encoding in product(texts, ("utf-8", "utf-8-sig")):
        (tmp_path / f"log.{form}").write_text(texts[form], encoding=encoding)
        read = checked_log_config("log_config", tmp_path / f"log.{form}")
        assert read is not None
        assert read.settings == config


@pytest.mark.parametrize("form", ["dict", "ini"])
async def test_the_handlers_of_a_configuration_run_in_the_nodes(form: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    config: Any = _dict(kept)
    if form != "dict":
        config = tmp_path / "log.ini"
        config.write_text(_ini(kept))
    topology = Topology(nodes=[nodes("a"), nodes("b")], log_config=config)
    # A copy is the same, and the file is not needed any more.
    if form != "dict":
        config.unlink()
    topology = replace(topology, patience=2.0)
    before = list(logging.root.handlers)
    async with running_system(topology) as system:
        for on in ("a", "b"):
            await (await system.spawn(Shop, on=on)).ask(Shop.say)
    assert kept.read_text().count("low ink") == 2
    assert logging.root.handlers == before


@pytest.mark.parametrize(
    "name, text, problem",
    [
        ("log.json", None, "cannot be read: No such file or directory"),
        ("log.json", "{", "is no JSON: Expecting property name"),
        ("log.toml", "a = ", "is no TOML: Invalid value"),
        ("log.json", "[]", "must be a dict for logging.config, got list"),
        ("log.json", "{}", "must have version = 1, got None"),
        ("log.yaml", "version: 1", "YAML is not read: write it as .toml or .json"),
        ("log.ini", "version: 1", "is not in the format of logging.config: File contains no sec"),
        ("log.ini", "[loggers]\nkeys=root", "has no section [handlers], as fileConfig needs it"),
        ("log.ini", b"\xff\xfe", "cannot be read: 'utf-8' codec can't decode byte 0xff"),
        ("log.ini", "#" * 1_100_000, "has more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_where_it_is_named(
    name: str, text: str | bytes | None, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InvalidSpec) as caught:
        Topology(log_config=file)
    assert (
        str(caught.value)
        .replace(f" {str(file)!r}", "", 1)
        .replace(": YAML", " YAML")
        .startswith(f"Topology: log_config {problem}")
    )


@pytest.mark.parametrize(
    "config, problem",
    [
        (5, "must be the path of a file or a dict, got 5"),
        ({"version": 2}, "must have version = 1, got 2"),
        (
            {"version": 1, "handlers": {"h": {"()": logging.StreamHandler}}},
            "must be plain data, as it is sent to the nodes: Object of type type is not JSON",
        ),
    ],
)
def test_a_value_that_is_no_configuration_is_refused(config: Any, problem: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Topology(log_config=config)
    assert str(caught.value).startswith(f"Topology: log_config {problem}")


async def test_a_handler_that_no_node_can_make_is_one_error_at_the_start() -> None:
    config = {"version": 1, "handlers": {"h": {"class": "no.such.Handler"}}}
    topology = Topology(nodes=[nodes("web", count=2)], log_config=config)
    with anyio.fail_after(PATIENCE), pytest.raises(StartFailed) as caught:
        async with System(topology):
            pass
    text = str(caught.value.__cause__ or caught.value)
    assert "Topology: log_config: Unable to configure handler 'h': " in text
    assert "Traceback" not in text
