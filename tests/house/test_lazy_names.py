"""`import actors` loads its public names when they are used; a command that asks a system uses none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import actors
from actors import _public
from actors.cli._parser import TOP_ORDERS
from actors.nodes.health.sampling import ORDERS

ROOT = Path(__file__).resolve().parents[2]

OF_THE_CLIENT = {
    "actors",
    "actors._base",
    "actors._base.platform",
    "actors._base.printable",
    "actors._base.suggestions",
    "actors._root_errors",
    "actors.cli",
    "actors._base.control_folder",
    "actors._base.control_search",
    "actors._base.version",
    "actors.cli._application_parser",
    "actors.cli._failure",
    "actors.cli._join_parser",
    "actors.cli._parser",
    "actors.cli._serve_answers",
    "actors.cli._serve_parser",
    "actors.cli._top_parser",
    "actors.cli.client",
    "actors.cli.client.commands",
    "actors.cli.client.connection",
    "actors.cli.client.flame_graph",
    "actors.cli.client.tables",
    "actors.cli.client.text",
}
OF_TOP = {"actors.cli.top", "actors.cli.top.plain"}
PRINT_OURS = "import sys; print(*[name for name in sys.modules if name.split('.')[0] == 'actors'])"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["ps", "tree", "stop", "kill web/0", "reload", "top --once"])
def test_a_command_that_asks_a_system_imports_none_of_the_engine(
    command: str, tmp_path: Path
) -> None:
    ask = f"from actors.cli import main; assert main({command.split()}) == 3"
    environment = f"import os; os.environ['XDG_RUNTIME_DIR'] = {str(tmp_path)!r}"

    loaded = set(run(f"{environment}; {ask}; {PRINT_OURS}").split())
    assert loaded - (OF_TOP if command.startswith("top") else set()) == OF_THE_CLIENT


def test_the_parser_knows_the_orders_of_top_without_importing_the_engine() -> None:
    assert tuple(ORDERS) == TOP_ORDERS


def test_the_names_are_those_of_the_module_that_is_loaded_at_their_first_use() -> None:
    assert actors.__all__ == _public.__all__
    assert set(actors.__all__) <= set(dir(actors))


@pytest.mark.parametrize(
    "code",
    [
        "from actors import nodes",
        "import actors; nodes = actors.nodes",
        "from actors import *",
        "from actors.errors import NodeDown; from actors import nodes",
        "import actors.nodes; nodes = actors.nodes",
        "import actors.testing; from actors import nodes",
        "from actors.nodes import Node; import actors; actors.System; from actors import nodes",
    ],
)
def test_nodes_is_the_function_however_it_is_imported(code: str) -> None:
    assert run(f"{code}; print(nodes('web').name)") == "web\n"


def test_a_name_that_is_not_there_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'actors' has no attribute 'Sytsem'"):
        actors.Sytsem  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Sytsem' from 'actors'"):
        from actors import Sytsem  # type: ignore[attr-defined] # noqa: F401, PLC0415
