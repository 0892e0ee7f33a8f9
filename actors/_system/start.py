"""`actors.start`: a system for programs that have no block to put it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from actors._system.system import System

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from actors._system.topology import FilePath, Topology

__all__ = ["SystemOptions", "start"]


class SystemOptions(TypedDict, total=False):
    """The keywords of `System`."""

    local: bool
    propagate: Sequence[str]
    trace: bool
    largest: int | None
    lend_per_node: int | None
    patience: float | None
    ask_timeout: float | None
    lease: float | None
    reach: str | None
    join_secret: FilePath | None
    tls: Mapping[str, FilePath] | None
    tracing: bool
    control: bool | str


async def start(topology: Topology | None = None, **options: Unpack[SystemOptions]) -> System:
    """Start a system and return it when it is ready; `System.aclose` ends it.

    For what has no block to put it in: a fixture, a notebook, a lifespan, an object with a start and an
    end of its own. The system belongs to no task. When it fails, nobody is cancelled: every call raises
    `SystemStopped`, and `System.wait` says how it ended. An event loop that ends first stops it, with a
    warning::

        system = await actors.start()
        try:
            counter = await system.spawn(Counter, 10)
        finally:
            await system.aclose()

    Args:
        topology: what it starts with.
        **options: as for `System`.

    Raises:
        InvalidSpec: what is to be propagated is not there, or no context variable.
        ActorsError: the topology could not be started; nothing of it is left.
    """
    system = System(topology, **options)
    await system.begin()
    return system
