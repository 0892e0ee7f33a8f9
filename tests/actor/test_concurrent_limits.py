"""Limits of concurrent handlers, in virtual time: who runs, who waits, and what becomes of those that wait."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trio.testing

from actors import Actor, ActorStopped, Ref, concurrent, local
from actors.errors import DeadlineExceeded, InvalidSpec, MailboxFull
from actors.testing import Probe, VirtualTimeLoop, running_system


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Fetcher(Actor):
    """Fetches for a second; the probe hears what begins, and when."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.began = anyio.current_time()

    def _put(self, value: Any) -> None:
        self.probe.put((round(anyio.current_time() - self.began, 6), value))

    @concurrent(limit=2)
    async def fetch(self, what: Any) -> Any:
        self._put(what)
        await anyio.sleep(1)
        if isinstance(what, Exception):
            raise what
        return what

    @concurrent(limit=1, group="disk")
    async def read(self, what: str) -> None:
        self._put(what)
        await anyio.sleep(1)

    @concurrent(group="disk")
    async def write(self, what: str) -> None:
        self._put(what)
        await anyio.sleep(1)

    @concurrent
    async def free(self) -> None:
        self._put("free")
        await anyio.sleep(1)

    async def note(self, what: str) -> None:
        self._put(what)

    async def crash(self) -> None:
        raise RuntimeError("boom")


async def test_calls_over_the_limit_wait_in_order_and_hold_up_no_other_message() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Fetcher, local(probe))
        for number in range(5):
            await ref.tell(Fetcher.fetch, number)
        await ref.tell(Fetcher.note, "another")
        await ref.tell(Fetcher.free)
        heard = [await probe.next() for _ in range(7)]

    # What starts in one pass of the loop starts in any order on trio.
    assert set(heard[:4]) == {(0, 0), (0, 1), (0, "another"), (0, "free")}
    assert set(heard[4:6]) == {(1, 2), (1, 3)}
    assert heard[6] == (2, 4)


async def test_the_methods_of_a_group_share_its_limit() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Fetcher, local(probe))
        await ref.tell(Fetcher.write, "w1")
        await ref.tell(Fetcher.read, "r1")
        await ref.tell(Fetcher.write, "w2")
        assert [await probe.next() for _ in range(3)] == [(0, "w1"), (1, "r1"), (2, "w2")]


async def test_an_error_frees_a_place() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Fetcher, local(probe))
        replies: list[Any] = []

        async def ask(what: Any) -> None:
            try:
                replies.append(await ref.ask(Fetcher.fetch, what))
            except ValueError as error:
                replies.append(error.args)

        async with anyio.create_task_group() as tasks:
            for what in (ValueError("one"), ValueError("two"), "three"):
                tasks.start_soon(ask, what)

    assert set(replies) == {("one",), ("two",), "three"}


async def test_a_waiting_call_still_takes_a_place_in_the_mailbox() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Fetcher, local(probe), mailbox=2)
        for number in range(4):
            await ref.tell(Fetcher.fetch, number)
        await ref.wait_ready()
        with pytest.raises(MailboxFull):
            ref.tell_nowait(Fetcher.note, "no room")
        with anyio.fail_after(1.5):
            await ref.tell(Fetcher.note, "room after a second")
    assert (1, "room after a second") in probe.heard


async def test_a_waiting_call_that_is_cancelled_or_expires_never_runs() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Fetcher, local(probe))
        for number in range(2):
            await ref.tell(Fetcher.fetch, number)
        with anyio.move_on_after(0.5):
            await ref.ask(Fetcher.fetch, "cancelled")
        await ref.within(0.2).tell(Fetcher.fetch, "expired")
        with pytest.raises(DeadlineExceeded):
            await ref.within(0.2).ask(Fetcher.fetch, "late")
        assert await ref.ask(Fetcher.fetch, "last") == "last"
    assert {what for _, what in probe.heard[:2]} == {0, 1}
    assert probe.heard[2:] == [(1, "last")]


async def test_waiting_calls_outlive_a_restart_and_keep_their_order() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Fetcher, local(probe))
        for number in range(5):
            await ref.tell(Fetcher.fetch, number)
        await ref.tell(Fetcher.crash)
        await ref.tell(Fetcher.note, "behind")
        heard = [await probe.next() for _ in range(6)]
    said = [what for _, what in heard]
    # The two that ran are lost. The new incarnation begins with those that waited.
    assert set(said[:2]) == {0, 1}
    assert set(said[2:5]) == {2, 3, "behind"}
    assert heard[5] == (1, 4)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_the_askers_of_waiting_calls_hear_of_the_end(how: str) -> None:
    async with running_system() as system:
        ref = await system.spawn(Fetcher, local(Probe()))

        async def ask(ref: Ref[Fetcher]) -> None:
            with pytest.raises(ActorStopped):
                await ref.ask(Fetcher.fetch, "waits")

        async with anyio.create_task_group() as tasks:
            for number in range(2):
                await ref.tell(Fetcher.fetch, number)
            tasks.start_soon(ask, ref)
            await ref.wait_ready()
            if how == "kill":
                await ref.stop(grace=0)
            else:
                await ref.stop()


def test_options_that_make_no_sense_are_refused_by_their_value() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"limit": 0}, "limit must be a whole number of 1 or more, got 0"),
        ({"limit": True}, "limit must be a whole number of 1 or more, got True"),
        ({"limit": 1, "group": ""}, "group must be a name, got ''"),
    ]
    for options, why in refused:
        with pytest.raises(InvalidSpec, match=why):
            concurrent(**options)
    with pytest.raises(InvalidSpec, match="only an async def can run beside others"):

        @concurrent(limit=2)
        def plain(self: Any) -> None: ...


def test_a_group_whose_limits_contradict_each_other_is_refused_with_its_class() -> None:
    with pytest.raises(InvalidSpec, match="'io' has limit=2 in read and limit=3 in write"):

        class Torn(Actor):
            @concurrent(limit=2, group="io")
            async def read(self) -> None: ...

            @concurrent(limit=3, group="io")
            async def write(self) -> None: ...

    with pytest.raises(InvalidSpec, match="no method gives the group 'io' a limit"):

        class Lost(Actor):
            @concurrent(group="io")
            async def read(self) -> None: ...
