"""Spawns actors on the kind of node that a contract test runs on, and stops them after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from actors import Actor, Ref, System
from actors.testing import Probe
from tests.contracts.contract_actors import Gate

A = TypeVar("A", bound=Actor)


def is_far(node: str) -> bool:
    """Whether the node of this name is as on another machine."""
    return node.startswith("far/")


class NodeUnderTest:
    """Spawns on its kind of node, and ends what a test has left running."""

    def __init__(self, system: System, on: str, probe: Probe) -> None:
        self.system = system
        self.on = on
        self.probe = probe
        self._refs: list[Ref[Any]] = [probe.ref]

    @property
    def remote(self) -> bool:
        """Whether messages to it go over a link."""
        return self.on != self.system.node.name

    @property
    def far(self) -> bool:
        """Whether it is as on another machine, which sockets and shared memory cannot reach."""
        return is_far(self.on)

    async def spawn(self, cls: Callable[..., A], *args: Any, **options: Any) -> Ref[A]:
        ref = await self.system.spawn(cls, *args, **{"on": self.on, **options})
        self._refs.append(ref)
        return ref

    async def gate(self) -> Ref[Gate]:
        """A gate on the test's own node, whatever kind of node is under test."""
        return await self.spawn(Gate, on=self.system.node.name)

    async def close(self) -> None:
        for ref in reversed(self._refs):
            await ref.stop(grace=0.1)
        for ref in self._refs:
            await ref.wait()


async def send(ref: Ref[Any], verb: str, method: Any, *args: Any) -> Any:
    """Send a message by the *verb* that is under test."""
    if verb == "tell_nowait":
        return ref.tell_nowait(method, *args)
    return await getattr(ref, verb)(method, *args)


async def read(ref: Ref[Any], method: Any, *args: Any, into: list[Any] | None = None) -> None:
    """Read a stream to its end."""
    async with ref.stream(method, *args) as items:
        await drain(items, into)


async def drain(items: AsyncIterator[Any], into: list[Any] | None = None) -> None:
    """Read what is left of a stream."""
    async for item in items:
        if into is not None:
            into.append(item)
