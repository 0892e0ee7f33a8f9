"""A node is as its parent is: its arguments; and what an actor starts there is as anywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from actors import Topology, nodes
from actors.errors import StartFailed
from actors.testing import running_system
from tests.nodes.node_actors import Leaver
from tests.nodes.test_who_ended_it import PATIENCE
from tests.scripts import run


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: what a process inherits is not its loop's business."""
    return "asyncio", {"use_uvloop": True}


ARGUMENTS = """
    import argparse, sys, actors

    parser = argparse.ArgumentParser()
    parser.add_argument("--start", type=int, required=True)
    START = parser.parse_args().start

    class Counter(actors.Actor):
        async def start(self) -> list:
            return [START, sys.argv[1:]]

    async def main() -> None:
        forked, new = actors.nodes("forked"), actors.nodes("new", env={"LANG": "C"})
        async with actors.System(actors.Topology(nodes=[forked, new])) as system:
            for on in ("forked", "new"):
                print(await (await system.spawn(Counter, on=on)).ask(Counter.start))

    if __name__ == "__main__":
        actors.run(main)
"""


def test_a_main_that_reads_its_arguments_reads_the_same_ones_on_a_node(tmp_path: Path) -> None:
    code, out, err = run(tmp_path / "script.py", ARGUMENTS, "--start", "5")
    assert (code, out) == (0, "[5, ['--start', '5']]\n" * 2), err


async def test_a_module_that_exits_when_it_is_imported_fails_that_start_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exits.py").write_text(
        "import actors, os, sys\n"
        f"if os.getppid() == {os.getpid()}:\n    sys.exit(7)\n"
        "class Odd(actors.Actor):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    odd = __import__("exits").Odd
    try:
        async with running_system(Topology(nodes=[nodes("web")])) as system:
            other = await system.spawn(Leaver, on="web")
            with anyio.fail_after(PATIENCE):
                with pytest.raises(StartFailed, match=r"exits ended with sys\.exit\(7\)"):
                    await system.spawn(odd, on="web")
                assert await other.ask(Leaver.interrupted) == "interrupted"
    finally:
        del sys.modules["exits"]


@pytest.mark.parametrize("env", [{}, {"LANG": "C"}], ids=["forked", "new"])
async def test_a_program_that_an_actor_starts_can_be_interrupted_and_its_node_cannot(
    env: dict[str, str],
) -> None:
    async with running_system(Topology(nodes=[nodes("web", env=env)])) as system:
        leaver = await system.spawn(Leaver, on="web")
        with anyio.fail_after(PATIENCE):
            assert await leaver.ask(Leaver.interrupted) == "interrupted"


async def test_a_crash_in_c_is_reported_with_the_stack_of_its_thread() -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        events = system.events()
        leaver = await system.spawn(Leaver, on="web")
        with anyio.fail_after(PATIENCE):
            await leaver.tell(Leaver.crash)
            async for event in events:
                if event.kind == "child_ended" and event.facts["child"] == "web/0":
                    break
        events.close()
    lines = str(event.facts["exit"]).splitlines()
    assert "  Fatal Python error: Segmentation fault" in lines
    place = lines.index("  Fatal Python error: Segmentation fault")
    assert lines[place + 1].startswith("  Current thread ")
    assert any("node_actors.py" in line and line.endswith(" in crash") for line in lines)
