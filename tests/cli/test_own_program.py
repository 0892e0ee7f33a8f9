"""A system of one's own program has a control socket when it is asked to: the commands see and control it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, System, Topology, nodes
from actors._base.control_folder import control_sockets, make_folder
from actors.errors import ActorsError, InvalidSpec
from tests.cli.running_command import run_here

PATIENCE = 20


class Desk(Actor):
    """Does nothing."""


@pytest.fixture
def folder(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return runtime / "actors"


async def _command(runtime: Path, *words: str) -> tuple[int, str, str]:
    return await anyio.to_thread.run_sync(run_here, runtime, *words)


def _labels(folder: Path) -> list[str]:
    return [found.name for found in control_sockets(folder)]


async def test_the_commands_see_it(runtime: Path, folder: Path) -> None:
    topology = Topology(nodes=[nodes("cpu", kind="thread")])
    with anyio.fail_after(PATIENCE):
        async with System(topology, control=True) as system:
            await system.spawn(Desk, name="desk")
            code, out, err = await _command(runtime, "ps", "--json")
            assert code == 0, err
            assert [node["name"] for node in json.loads(out)["nodes"]] == ["cpu/0"]
            code, out, _ = await _command(runtime, "tree")
            assert "desk" in out
            code, out, _ = await _command(runtime, "scale", "cpu=2")
            assert [node.name for node in system.nodes][1:] == ["cpu/0", "cpu/1"]
        assert _labels(folder) == []
        code, _, err = await _command(runtime, "ps")
        assert (code, "no system of yours is running" in err) == (3, True)


async def test_without_control_it_has_no_socket(runtime: Path, folder: Path) -> None:
    async with System():
        code, _, _ = await _command(runtime, "ps")
    assert (code, _labels(folder)) == (3, [])


async def test_systems_of_one_process_are_told_apart_by_name_or_number(
    runtime: Path, folder: Path
) -> None:
    with anyio.fail_after(PATIENCE):
        async with (
            System(control=True),
            System(control=True),
            System(Topology(nodes=[nodes("till", kind="thread")]), control="shop"),
        ):
            assert _labels(folder) == ["", "2", "shop"]
            code, _, err = await _command(runtime, "ps")
            assert code == 2
            assert "3 systems are running; choose one:" in err
            code, out, _ = await _command(runtime, "ps", "--json", "--pid", "shop")
            assert [node["name"] for node in json.loads(out)["nodes"]] == ["till/0"]
            code, _, err = await _command(runtime, "ps", "--pid", "market")
            assert code == 3
            assert "no system runs as 'market'; running: " in err
            assert "-shop" in err
            with pytest.raises(InvalidSpec, match="control='shop': another system of this process"):
                async with System(control="shop"):
                    pass
            assert _labels(folder) == ["", "2", "shop"]
        assert _labels(folder) == []


@pytest.mark.parametrize("control", ["", "a b", "1st", "x" * 33, 1, None])
def test_a_name_that_no_file_can_have_is_refused(control: Any) -> None:
    with pytest.raises(InvalidSpec, match="control must be True, False or a name"):
        System(control=control)


async def test_stop_ends_the_system_and_not_the_program(runtime: Path, folder: Path) -> None:
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks, System(control="shop"):
            tasks.start_soon(_stop, runtime)
            await anyio.sleep_forever()
        assert _labels(folder) == []


async def _stop(runtime: Path) -> None:
    code, out, err = await _command(runtime, "stop")
    assert code == 0, err
    assert out.endswith("-shop has stopped\n")


async def test_a_folder_that_others_may_enter_is_refused_and_nothing_is_left(folder: Path) -> None:
    make_folder(folder)
    os.chmod(folder, 0o755)  # noqa: PTH101, S103 - no path of anyio, and that is the test
    with pytest.raises(ActorsError, match="so that others can enter it"):
        async with System(control=True):
            pass


async def test_without_a_folder_it_runs_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "actors._system.control.server.control_folder", lambda: Path("/proc/self/none")
    )
    with anyio.fail_after(PATIENCE):
        async with System(control=True) as system:
            await system.spawn(Desk)
            assert _labels(folder) == []


async def test_a_body_that_fails_leaves_no_socket(folder: Path) -> None:
    async def body() -> None:
        async with System(control=True):
            assert _labels(folder) == [""]
            raise RuntimeError("of the program")

    with pytest.raises(RuntimeError, match="of the program"):
        await body()
    assert _labels(folder) == []
