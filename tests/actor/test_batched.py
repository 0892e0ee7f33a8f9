"""Batches, in virtual time: what is in one, when it begins, and who gets which reply."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trio.testing

from actors import Actor, ActorCrashed, ActorStopped, OnError, Ref, batched, local
from actors.errors import DeadlineExceeded, InvalidSpec
from actors.testing import Probe, VirtualTimeLoop, eventually, running_system


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Model(Actor, on_error={LookupError: OnError.RESUME}):
    """Doubles numbers; the probe hears each batch, and when it began."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.began = anyio.current_time()

    def _put(self, value: Any) -> None:
        self.probe.put((round(anyio.current_time() - self.began, 6), value))

    @batched(most=4, within=1)
    async def double(self, numbers: list[int]) -> list[int | Exception]:
        self._put(numbers)
        return [2 * number if number >= 0 else ValueError(number) for number in numbers]

    @batched(most=4, within=0)
    async def odd(self, whats: list[Any]) -> list[Any]:
        self._put(whats)
        if whats[0] == "short":
            return [1]
        if whats[0] == "tuple":
            return tuple(whats)  # type: ignore[return-value] # on purpose
        if whats[0] == "sleep":
            await anyio.sleep(10)
        if isinstance(whats[0], Exception):
            raise whats[0]
        return whats

    @batched(most=100, within=5)
    async def store(self, rows: list[str]) -> None:
        self._put(rows)

    @batched(most=4, within=1)
    async def check(self, errors: list[Any]) -> list[Any]:
        self._put("check")
        return errors

    async def twice(self, number: int) -> int:
        return await self.double(number)

    async def note(self, what: str) -> None:
        self._put(what)


async def _ask(ref: Ref[Model], method: Any, whats: list[Any]) -> list[Any]:
    """Ask all at once; return the replies, or the errors, in order."""
    replies: dict[int, Any] = {}

    async def one(number: int, what: Any) -> None:
        try:
            replies[number] = await ref.ask(method, what)
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            replies[number] = error

    async with anyio.create_task_group() as tasks:
        for number, what in enumerate(whats):
            tasks.start_soon(one, number, what)
            await anyio.sleep(0.001)  # trio starts tasks in any order
    return [replies[number] for number in range(len(whats))]


async def test_each_asker_gets_its_own_reply_or_its_own_error() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        replies = await _ask(ref, Model.double, [1, 2, -3, 4])

    assert replies[:2] + replies[3:] == [2, 4, 8]
    assert isinstance(replies[2], ValueError)
    assert [sorted(numbers) for _, numbers in probe.heard] == [[-3, 1, 2, 4]]


async def test_a_full_batch_begins_at_once_and_a_short_one_when_its_time_is_over() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        for number in range(6):
            await ref.tell(Model.double, number)
        assert [await probe.next() for _ in range(2)] == [(0, [0, 1, 2, 3]), (1, [4, 5])]


async def test_another_message_ends_a_batch_so_that_nothing_overtakes() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        await ref.tell(Model.double, 1)
        await ref.tell(Model.double, 2)
        await ref.tell(Model.note, "between")
        await ref.tell(Model.double, 3)
        heard = [await probe.next() for _ in range(3)]
    assert heard == [(0, [1, 2]), (0, "between"), (1, [3])]


async def test_a_batch_waits_for_no_more_than_the_mailbox_holds() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe), mailbox=2)
        with anyio.fail_after(4):
            for row in "abcde":
                await ref.tell(Model.store, row)
        await ref.stop()
        await ref.wait()
    assert "".join("".join(rows) for _, rows in probe.heard) == "abcde"
    assert all(when == 0 for when, _ in probe.heard)


async def test_cancelled_and_expired_calls_are_not_in_the_batch() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ref.ask, Model.double, 1)
            with anyio.move_on_after(0.5):
                await ref.ask(Model.double, 2)
            await ref.within(0.1).tell(Model.double, 3)
            with pytest.raises(DeadlineExceeded):
                await ref.within(0.1).ask(Model.double, 4)
        assert probe.heard == [(1, [1])]
        with anyio.move_on_after(0.5):
            await ref.ask(Model.double, 5)
        await ref.ask(Model.note, "nobody was left")
    assert [what for _, what in probe.heard[1:]] == ["nobody was left"]


async def test_a_batch_that_nobody_waits_for_any_more_is_cancelled() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ref.ask, Model.odd, "sleep")
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(1):
            await ref.wait_ready()


@pytest.mark.parametrize(
    "what, error",
    [
        ("short", "ValueError: Model.odd must return 2 replies, one for each call, got 1"),
        (
            "tuple",
            "TypeError: Model.odd must return a list of replies, one for each call, got tuple",
        ),
        (KeyError("whole"), "KeyError: 'whole'"),
    ],
    ids=["a list of another length", "no list", "the handler raises"],
)
async def test_every_asker_gets_the_error_of_the_whole_batch_and_the_actor_lives(
    what: Any, error: str
) -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        # The first is a batch of its own, so that the two behind it are one.
        first, *rest = await _ask(ref, Model.odd, ["sleep", what, what])
        assert first == "sleep"
        assert [f"{type(one).__name__}: {one}" for one in rest] == [error, error]
        assert rest[0] is not rest[1]
        assert await ref.ask(Model.odd, "fine") == "fine"
    assert len(probe.heard) == 3


async def test_an_error_that_nobody_gets_is_one_crash_by_the_law_of_tells() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        events = system.events()
        # By the table of the class: reported, and the actor goes on.
        await ref.tell(Model.check, LookupError("resumed"))
        await ref.tell(Model.check, "fine")
        assert await ref.ask(Model.check, "asked") == "asked"
        await ref.tell(Model.check, ValueError("crash"))
        await ref.tell(Model.check, ValueError("crash"))
        assert await ref.ask(Model.check, "asked") == "asked"
        await eventually(lambda: len(probe.heard) == 2)
        await ref.ask(Model.note, "next incarnation")
        kinds = []
        async for event in events:
            kinds.append(event.kind)
            if event.kind == "restart_scheduled":
                break
    assert kinds.count("message_failed") == 1
    assert kinds.count("child_ended") == 1
    assert [what for _, what in probe.heard] == ["check", "check", "next incarnation"]


async def test_the_askers_of_a_batch_that_runs_hear_of_a_kill_and_those_that_wait_of_the_end() -> (
    None
):
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        replies: list[Any] = []

        async def ask(method: Any, what: str) -> None:
            with pytest.raises((ActorCrashed, ActorStopped)) as caught:
                await ref.ask(method, what)
            replies.append(type(caught.value))

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask, Model.odd, "sleep")
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(1)
            tasks.start_soon(ask, Model.store, "row")
            await anyio.sleep(1)
            await ref.stop(grace=0)
    assert replies == [ActorCrashed, ActorCrashed, ActorStopped] or ActorStopped in replies


async def test_a_stop_ends_the_wait_for_more_and_the_batch_is_handled_first() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        await ref.tell(Model.store, "a")
        await anyio.sleep(1)
        await ref.stop()
        await ref.wait()
    assert probe.heard == [(1, ["a"])]


async def test_calls_that_wait_for_more_outlive_a_kill() -> None:
    probe = Probe()
    async with running_system() as system:
        ref = await system.spawn(Model, local(probe))
        await ref.tell(Model.store, "a")
        await anyio.sleep(1)
        ref.kill()
        await probe.expect((5, ["a"]), timeout=20)


async def test_own_code_calls_a_batched_method_with_one_item() -> None:
    async with running_system() as system:
        ref = await system.spawn(Model, local(Probe()))
        assert await ref.ask(Model.twice, 4) == 8
        with pytest.raises(ValueError, match="-1"):
            await ref.ask(Model.twice, -1)


async def test_a_call_has_one_argument_and_the_sender_is_told() -> None:
    async with running_system() as system:
        ref: Ref[Any] = await system.spawn(Model, local(Probe()))
        with pytest.raises(TypeError, match="double"):
            await ref.ask(Model.double, 1, 2)  # type: ignore[call-overload] # on purpose
        with pytest.raises(TypeError, match="double"):
            await ref.tell(Model.double)  # type: ignore[call-arg] # on purpose


def test_options_and_handlers_that_make_no_sense_are_refused() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"most": 0}, "most must be a whole number of 1 or more, got 0"),
        ({"within": -1}, "within must be 0 or more seconds, got -1"),
        ({"within": float("nan")}, "within must be 0 or more seconds, got nan"),
        ({"within": "1"}, "within must be 0 or more seconds, got '1'"),
    ]
    for options, why in refused:
        with pytest.raises(InvalidSpec, match=why):
            batched(**options)
    with pytest.raises(InvalidSpec, match="must take self and one list"):

        @batched()  # type: ignore[arg-type] # on purpose
        async def two(self: Any, ones: list[int], others: list[int]) -> list[int]:
            return ones + others
