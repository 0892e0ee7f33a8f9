"""A node is believed about itself only, and runs nothing but actors for another one."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest

from actors import Actor, Topology, nodes
from actors._remoting import operations as ops
from actors.errors import ActorsError, InvalidSpec, StartFailed
from actors.nodes import pack_arguments
from actors.supervisors import Exit
from actors.testing import running_system

TWO = Topology(nodes=[nodes("a"), nodes("b")])


class Good(Actor):
    """Is not to be disturbed."""

    async def ping(self) -> str:
        return "pong"


class Evil(Actor):
    """Sends its parent what no honest node sends."""

    def _host(self) -> Any:
        return self.context.ref.host

    async def release(self, name: str, uid: int) -> None:
        self._host().services.parent.note(ops.release_name, name, uid)

    async def claim(self, name: str, uid: int, node: str) -> None:
        me = self.context.ref
        ref = type(me)(self._host(), uid, node, name, me.cls_path, me.mailbox)
        await self._host().services.parent.call(ops.claim_name, ref)

    async def end(self, uid: int) -> None:
        self._host().services.parent.note(ops.actor_ended, uid, 1, Exit.SHUTDOWN, True)

    async def event(self, kind: str, facts: dict[str, Any]) -> None:
        self._host().services.parent.note(ops.event, kind, facts)

    async def spawn(self, path: str, args: tuple[Any, ...], on: str) -> None:
        arguments = pack_arguments(self._host(), args, {})
        options: Any = {"name": None, "on": on}
        await self._host().services.parent.call(ops.spawn, path, arguments, options, ())


async def test_a_node_cannot_take_the_name_of_an_actor_that_another_supervises() -> None:
    with anyio.fail_after(30):
        async with running_system(TWO) as system:
            good = await system.spawn(Good, name="good", on="b")
            evil = await system.spawn(Evil, on="a")
            await evil.ask(Evil.release, "good", good.uid)
            for uid, node in ((evil.uid, "a/0"), (good.uid, "b/0"), (99 << 32, "a/0")):
                with pytest.raises(ActorsError, match="a/0 supervises no"):
                    await evil.ask(Evil.claim, "good", uid, node)
            assert await system.lookup("good") == good


async def test_a_node_cannot_end_an_actor_of_another() -> None:
    with anyio.fail_after(30):
        async with running_system(TWO) as system:
            good = await system.spawn(Good, name="good", on="b")
            evil = await system.spawn(Evil, on="a")
            await evil.ask(Evil.end, good.uid)
            assert await system.lookup("good") == good
            assert await good.ask(Good.ping) == "pong"


async def test_what_a_node_reports_is_about_itself() -> None:
    with anyio.fail_after(30):
        async with running_system(TWO) as system:
            evil = await system.spawn(Evil, on="a")
            events = system.events()
            forged = {"node": "b/0", "why": "forged"}
            for kind, facts in (
                ("node_died", forged),
                ("system_stopping", forged),
                ("child_ended", {**forged, "supervisor": "spawned", "child": "x"}),
                ("dead_letter", {**forged, "actor": "x", "message": "m", "reason": "forged"}),
            ):
                await evil.ask(Evil.event, kind, facts)
            seen: list[tuple[str, Any]] = []
            async for event in events:
                seen.append((event.kind, event.facts.get("node")))
                if event.kind == "dead_letter":
                    break
            assert seen == [("report_refused", "a/0")] * 3 + [("dead_letter", "a/0")]


@pytest.mark.parametrize("on", ["b", "local"])
async def test_a_class_that_is_no_actor_is_refused_before_anything_of_it_runs(
    on: str, tmp_path: Any
) -> None:
    mark = tmp_path / "ran"
    program = [sys.executable, "-c", f"open({str(mark)!r}, 'w').close()"]
    with anyio.fail_after(30):
        async with running_system(TWO) as system:
            evil = await system.spawn(Evil, on="a")
            for path in ("subprocess:Popen", "actors:Actor"):
                with pytest.raises((InvalidSpec, StartFailed), match="takes a subclass of actors"):
                    await evil.ask(Evil.spawn, path, (program,), on)
            await anyio.sleep(0.2)
    assert not mark.exists()
