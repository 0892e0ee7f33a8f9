"""What is said of a node that could not be restarted, while its supervisor waits to try again."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from actors import Actor, Backoff, Topology, listen, nodes
from actors.errors import NodeDown
from actors.testing import running_system

HANDLER = """
from pathlib import Path

if Path({flag!r}).exists():
    raise RuntimeError("this version is broken")


async def handle(stream):
    pass
"""


class Hello(Actor):
    async def hello(self) -> str:
        return "hello"


async def test_a_node_whose_restart_failed_is_told_to_come_back_with_the_error_of_its_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "broken"
    (tmp_path / "handler_of_outlook.py").write_text(HANDLER.format(flag=str(flag)))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    topology = Topology(
        nodes=[nodes("web", backoff=Backoff(first=60, cap=60))],
        listeners=[listen("handler_of_outlook:handle", "127.0.0.1:0")],
    )
    with anyio.fail_after(30):
        async with running_system(topology) as system:
            ref = await system.spawn(Hello, on="web")
            events = system.events()
            flag.touch()
            system.nodes[-1].kill()
            async for event in events:
                if event.kind == "restart_scheduled" and event.facts["delay"] > 1:
                    break
            with pytest.raises(NodeDown, match="RuntimeError: this version is broken") as caught:
                await ref.ask(Hello.hello)
            assert caught.value.restarting
            assert "it is being restarted" in caught.value.why
