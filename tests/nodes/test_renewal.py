"""`on_renew`: an actor that ends in order hands a state over to the incarnation that follows it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, Exit, Ref, Restart, System, Topology, child, nodes, supervisor
from actors.errors import ActorCrashed, InvalidSpec
from actors.testing import Probe, Recorder, crash, eventually, running_system
from tests.conftest import LOOPS

KINDS = {"process": nodes("a"), "thread": nodes("a", kind="thread")}


class Counter(Actor):
    """Counts, over all its incarnations, as far as they hand over."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.probe = probe
        self.counts: list[int] = []
        self.trouble = ""

    async def on_start(self, state: list[int] | None = None) -> None:
        self.given = state
        self.counts = state or []

    async def on_renew(self) -> Any:
        if self.trouble == "raise":
            raise LookupError("no state here")
        if self.trouble == "wait":
            await anyio.sleep_forever()
        if self.trouble == "lock":
            return threading.Lock()
        if self.trouble == "nothing":
            return None
        if self.probe is not None:
            await self.probe.tell(Recorder.record, "on_renew")
        return self.counts

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        if self.trouble == "crash":
            raise RuntimeError("on the way out")
        if self.probe is not None:
            await self.probe.tell(Recorder.record, str(exit))

    async def add(self, number: int) -> list[int]:
        self.counts.append(number)
        return self.counts

    async def got(self) -> list[int] | None:
        return self.given

    async def get_into(self, trouble: str) -> None:
        self.trouble = trouble

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def crash(self) -> None:
        raise RuntimeError("boom")


class Till(Actor, blocking=True):
    """As `Counter`, in a thread of its own."""

    def on_start(self, state: int = 0) -> None:
        self.sum = state

    def on_renew(self) -> int:
        return self.sum

    def add(self, number: int) -> int:
        self.sum += number
        return self.sum


@pytest.fixture(params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


async def _replace(system: System, how: str = "replace") -> None:
    node: Any = next(node for node in system.nodes if node.name == "a/0")
    before = node.restarts
    if how == "reload":
        await system.reload("a")
    else:
        assert node.replace("the test wants it")
    await eventually(lambda: node.restarts > before and node.ready, 20)


async def _lost(events: Any) -> dict[str, Any]:
    with anyio.fail_after(10):
        async for event in events:
            if event.kind == "state_lost":
                return dict(event.facts)
    raise AssertionError


@pytest.mark.parametrize("kind", KINDS)
async def test_an_actor_goes_on_with_its_state_when_its_node_is_replaced(kind: str) -> None:
    async with running_system(Topology(nodes=[KINDS[kind]])) as system:
        with anyio.fail_after(40):
            probe = await Probe.start(system)
            counter = await system.spawn(Counter, probe.ref, on="a")
            till = await system.spawn(Till, on="a")
            assert await counter.ask(Counter.got) is None
            await counter.ask(Counter.add, 1)
            await till.ask(Till.add, 10)
            await _replace(system)
            assert await counter.ask(Counter.add, 2) == [1, 2]
            assert await till.ask(Till.add, 1) == 11
            await probe.expect("on_renew")
            await probe.expect("SHUTDOWN")
            await _replace(system)
            assert await counter.ask(Counter.got) == [1, 2]


CODE = """
from actors import Actor

class Versioned(Actor):
    async def on_start(self, state=None):
        self.seen = [*(state or []), {version!r}]
    async def on_renew(self):
        return self.seen
    async def versions(self):
        return self.seen
"""


@pytest.mark.parametrize("anyio_backend", [LOOPS["uvloop"]])
async def test_new_code_goes_on_with_the_state_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "versioned_actor.py"
    module.write_text(CODE.format(version="one"))
    from versioned_actor import Versioned  # type: ignore[import-not-found] # noqa: PLC0415

    async with running_system(Topology(nodes=[nodes("a")])) as system:
        with anyio.fail_after(40):
            actor: Ref[Any] = await system.spawn(Versioned, on="a")
            assert await actor.ask(Versioned.versions) == ["one"]
            module.write_text(CODE.format(version="two, longer"))
            await _replace(system, "reload")
            assert await actor.ask(Versioned.versions) == ["one", "two, longer"]


@pytest.mark.parametrize("on", ["local", "a"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_child_that_is_stopped_and_started_again_goes_on(kind: str, on: str) -> None:
    where = None if on == "local" else "a"
    tree = supervisor("tree", [child(Counter, name="counter", on=where)])
    async with running_system(Topology(nodes=[KINDS[kind]], children=[tree])) as system:
        with anyio.fail_after(40):
            handle = system.supervisor("tree")
            for number in range(2):
                counter = await _counter(system)
                await counter.ask(Counter.add, number)
                await handle.stop_child("counter")
                await handle.restart_child("counter")
            counter = await _counter(system)
            assert await counter.ask(Counter.got) == [0, 1]
            await counter.tell(Counter.crash)
            await eventually(lambda: _incarnation(counter, 2))
            assert await counter.ask(Counter.got) is None


async def _counter(system: System) -> Ref[Counter]:
    found = await system.lookup("counter")
    assert found is not None
    return found


async def _incarnation(counter: Ref[Counter], number: int) -> bool:
    try:
        return await counter.ask(Counter.incarnation) == number
    except ActorCrashed:
        return False


async def test_nothing_is_handed_over_by_a_crash_a_kill_or_a_node_that_died() -> None:
    async with running_system(Topology(nodes=[nodes("a")])) as system:
        with anyio.fail_after(40):
            counter = await system.spawn(Counter, on="a", restart=Restart.PERMANENT)
            await counter.ask(Counter.add, 1)
            await counter.tell(Counter.crash)
            await eventually(lambda: _incarnation(counter, 2))
            assert await counter.ask(Counter.got) is None
            await counter.ask(Counter.add, 2)
            counter.kill()
            await eventually(lambda: _incarnation(counter, 3))
            assert await counter.ask(Counter.got) is None
            await counter.ask(Counter.add, 3)
            await crash(next(node for node in system.nodes if node.name == "a/0"))
            await counter.wait_ready()
            assert await counter.ask(Counter.got) is None


TROUBLE = {
    "raise": "on_renew: LookupError: no state here",
    "wait": "on_renew took more than 0.25 s, half of its shutdown",
    "lock": "on_renew: NotSendable: ",
}


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_state_that_is_lost_is_one_event_and_the_next_incarnation_starts_without(
    trouble: str,
) -> None:
    async with running_system(Topology(nodes=[nodes("a")])) as system:
        with anyio.fail_after(40):
            events = system.events()
            counter = await system.spawn(Counter, on="a", shutdown=0.5, name="counter")
            await counter.ask(Counter.add, 1)
            await counter.ask(Counter.get_into, trouble)
            await _replace(system)
            assert await counter.ask(Counter.got) is None
            facts = await _lost(events)
            assert facts["reason"].startswith(TROUBLE[trouble])
            assert facts["actor"] == "counter"


async def test_who_crashes_behind_the_hand_over_hands_nothing_over() -> None:
    async with running_system(Topology(nodes=[nodes("a")])) as system:
        with anyio.fail_after(40):
            counter = await system.spawn(Counter, on="a", restart=Restart.PERMANENT)
            await counter.ask(Counter.add, 1)
            await counter.ask(Counter.get_into, "crash")
            await _replace(system)
            await counter.wait_ready()
            assert await counter.ask(Counter.got) is None


async def test_no_state_is_no_loss() -> None:
    async with running_system(Topology(nodes=[nodes("a")])) as system:
        with anyio.fail_after(40):
            counter = await system.spawn(Counter, on="a")
            await counter.ask(Counter.get_into, "nothing")
            await _replace(system)
            assert await counter.ask(Counter.got) is None


async def _no_state(_self: Any) -> None: ...


async def _renew(_self: Any) -> int:
    return 1


def _sync(_self: Any) -> int:
    return 1


def test_a_class_that_hands_over_what_it_does_not_take_is_refused() -> None:
    with pytest.raises(
        InvalidSpec,
        match=r"Deaf\.on_renew returns a state for the next on_start, which takes none: write async "
        r"def on_start\(self, state=None\)",
    ):
        type("Deaf", (Actor,), {"on_start": _no_state, "on_renew": _renew})
    with pytest.raises(InvalidSpec, match=r"Plain\.on_renew is no async def"):
        type("Plain", (Actor,), {"on_start": Counter.on_start, "on_renew": _sync})
