"""`actors.connect`: a running system, for another program of the same user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors._base.errors import ActorsError
from actors._base.user_traceback import only_user_frames
from actors._system.blocking_system import BlockingSystem, in_thread
from actors._system.client_task import ClientTask, Which
from actors._system.system import System

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["Connecting", "connect"]


class Connecting:
    """What `connect` returns: to be entered by ``async with`` or, in plain code, ``with``; or to be awaited."""

    def __init__(self, which: Which) -> None:
        self._which = which
        self._entered: System | None = None
        self._in_thread: AbstractContextManager[BlockingSystem] | None = None

    def _system(self) -> System:
        return System.living_in(lambda system: ClientTask(system, self._which))

    def __await__(self) -> Generator[object, None, System]:
        return self._begin().__await__()

    async def _begin(self) -> System:
        system = self._system()
        try:
            await system.begin()
        except ActorsError as error:
            raise only_user_frames(error) from None
        return system

    async def __aenter__(self) -> System:
        self._entered = self._system()
        try:
            return await self._entered.__aenter__()
        except ActorsError as error:
            raise only_user_frames(error) from None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._entered is not None
        return await self._entered.__aexit__(kind, error, trace)

    def __enter__(self) -> BlockingSystem:
        self._in_thread = in_thread(self._system())
        return self._in_thread.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._in_thread is not None
        self._in_thread.__exit__(kind, error, trace)


def connect(which: Which = None) -> Connecting:
    """Connect this program to a system that runs in another process of this user.

    The program talks to the system's actors as its own code does: `System.lookup` and what the address can do,
    topics, groups, events, the tree. It starts and changes nothing there, has no actors and no names, and when
    it ends, however it does, the system forgets it. The system has a control socket if `actors run` or
    `actors serve` made it, or ``System(control=True)``::

        async with actors.connect() as system:
            counter = await system.lookup("counter", Counter)

    A notebook or an object with a start and an end of its own awaits it, and closes it with `System.aclose`::

        system = await actors.connect("orders")

    Plain code enters it by ``with``, and has the verbs of `blocking_system`, which block::

        with actors.connect() as system:
            counter = system.lookup("counter", Counter)

    When the system ends, the block is cancelled and raises `SystemStopped`, as does every call afterwards.

    Args:
        which: the system's name, the number of its process, both as "4711-orders", or the folder that its
            control socket is in; None is the only one that runs.

    Raises:
        NoSystem: when it is entered or awaited: there is no such system, or there are several.
        ActorsError: as above: the system refused, for instance because its version is another one.
    """
    return Connecting(which)
