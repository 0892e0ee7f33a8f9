"""Sizes of messages and of lent memory are options of the system, and lack of memory loses no message."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Buffer, System, Topology, move, nodes
from actors.errors import InvalidSpec, MessageTooBig
from actors.transport import ENVELOPE

MIB = 1 << 20


class Scale(Actor):
    async def weigh(self, blob: Any) -> int:
        return len(blob)

    async def make(self, size: int) -> bytes:
        return bytes(size)

    async def listen(self) -> None:
        self.context.tasks.start_soon(self._listen, started := anyio.Event())
        await started.wait()

    async def _listen(self, started: anyio.Event) -> None:
        async with self.context.system.topic("news").subscribe():
            started.set()
            await anyio.sleep_forever()


@pytest.mark.parametrize("kind", ["process", "thread"])
async def test_payloads_that_find_no_lent_memory_are_copied(kind: Any) -> None:
    topology = Topology(nodes=[nodes("box", kind=kind)], lend_per_node=MIB)
    sizes = [400_000, 3 * MIB, 400_000, 5 * MIB] * 3
    got: list[int] = []
    with anyio.fail_after(30):
        async with System(topology) as system:
            scale = await system.spawn(Scale, on="box")

            async def weigh(size: int, make: Any) -> None:
                got.append(await scale.ask(Scale.weigh, make(size)))

            async with anyio.create_task_group() as tasks:
                for size in sizes:
                    for make in (bytes, bytearray):
                        tasks.start_soon(weigh, size, make)
            assert len(await scale.ask(Scale.make, 5 * MIB)) == 5 * MIB
            assert (await system.node.stats())["memory"]["limit"] == MIB
    assert sorted(got) == sorted(sizes * 2)


async def test_what_is_over_largest_is_refused_and_the_error_says_who_has_what() -> None:
    topology = Topology(nodes=[nodes("box")], largest=MIB)
    # A message has some bytes of its own beside its payloads, which are not counted.
    blobs: list[Any] = [bytes(MIB + 1), bytearray(MIB + 1), "x" * (MIB + ENVELOPE)]
    with anyio.fail_after(30):
        async with System(topology, lend_per_node=8 * MIB) as system:
            scale = await system.spawn(Scale, on="box")
            for blob in blobs:
                with pytest.raises(MessageTooBig) as caught:
                    await scale.ask(Scale.weigh, blob)
                text = str(caught.value)
                assert f"a message may have {MIB} (largest=); node local lends " in text
                assert f" of {8 * MIB} bytes (lend_per_node=): " in text
            with pytest.raises(MessageTooBig, match=r"its reply: .*\(largest=\); node box/0 lends"):
                await scale.ask(Scale.make, MIB + 1)
            assert await scale.ask(Scale.weigh, bytes(MIB)) == MIB


async def test_largest_counts_all_payloads_of_a_message_together_lent_or_copied() -> None:
    with anyio.fail_after(30):
        async with System(Topology(nodes=[nodes("box")]), largest=MIB) as system:
            scale = await system.spawn(Scale, on="box")
            parts = [bytes(MIB // 2) for _ in range(2)]
            for _ in range(10):  # copied at first, lent when there is memory
                assert await scale.ask(Scale.weigh, parts) == 2
                with pytest.raises(MessageTooBig, match=r"a message may have 1048576 \(largest=\)"):
                    await scale.ask(Scale.weigh, [*parts, bytes(MIB // 4)])
                await anyio.sleep(0.003)
            assert (await system.node.stats())["memory"]["leased"] > 0
            topic = system.topic("news")
            async with topic.subscribe():
                await scale.ask(Scale.listen)
                with pytest.raises(MessageTooBig, match=r"\(largest=\); node .*\(lend_per_node=\)"):
                    topic.publish([*parts, bytes(MIB // 4)])


async def test_a_buffer_that_is_moved_may_be_bigger_than_the_largest_message() -> None:
    with anyio.fail_after(30):
        async with System(Topology(nodes=[nodes("box")]), largest=MIB) as system:
            scale = await system.spawn(Scale, on="box")
            await scale.ask(Scale.weigh, b"")
            assert await scale.ask(Scale.weigh, move(Buffer(2 * MIB))) == 2 * MIB


@pytest.mark.parametrize("size", [0, -1, 1000, 2**32, 1.5, True, "1 GiB"])
@pytest.mark.parametrize("option", ["largest", "lend_per_node"])
def test_what_is_no_size_is_refused_at_the_call(option: str, size: Any) -> None:
    for make in (Topology, System):
        text = f"{make.__name__}: {option} must be 65536 to 4294967295 bytes, got {size!r}"
        with pytest.raises(InvalidSpec) as caught:
            make(**{option: size})
        assert str(caught.value) == text
