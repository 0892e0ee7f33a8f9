"""What the files of this package and the node above them ask of each other; a lower file knows only these.

The node owns cells, a cell owns at most one incarnation at a time, an incarnation owns its message loop and
its context.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from actors._messaging.ref import RefHost
from actors._messaging.turn import Asker, Sender, Turn
from actors.supervisors import Exit

if TYPE_CHECKING:
    from actors._actor.activity import Activity
    from actors._actor.later_replies import LaterReplies
    from actors._actor.tasks import ActorTasks
    from actors._actor.timers import Timers
    from actors._actor.watches import Watches
    from actors._base.log import Logger
    from actors._base.loop import Loop
    from actors._messaging.blocking_ref import ThreadPortal
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.mailbox import Envelope, Mailbox
    from actors._messaging.ref import Ref

__all__ = ["CellHost", "CellInterface", "Ended", "Handling", "IncarnationInterface", "Renewed"]

Renewed: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]
"""Keeps the state that `on_renew` returned for the next incarnation."""
Ended: TypeAlias = Callable[[Exit, bool], None]
"""Called once with how an incarnation ended, and whether it asked to end: then it is not restarted."""


class CellHost(RefHost, Protocol):
    """The node, as a cell and its incarnation see it."""

    name: str
    system: Any
    over: bool
    activity: Activity
    propagation: Propagation | None

    def dead_letter(self, ref: Ref[Any], envelope: Envelope, why: str) -> None: ...
    def state_lost(self, ref: Ref[Any], why: str) -> None: ...
    def message_failed(self, ref: Ref[Any], envelope: Envelope, error: BaseException) -> None: ...
    def forget(self, cell: CellInterface, end: Exit) -> None: ...
    def suspect_deadlock(self, cell: Asker) -> None: ...
    def traced(self, facts: dict[str, Any]) -> None: ...
    async def spawn_child(
        self, parent: IncarnationInterface, cls: type, args: Any, kwargs: Any, **options: Any
    ) -> Ref[Any]: ...
    async def stop_children(self, parent: IncarnationInterface, *, kill: bool) -> None: ...


class CellInterface(Asker, Protocol):
    """The cell, as its incarnation sees it: it outlives the incarnation."""

    ref: Ref[Any]
    cls: type
    mailbox: Mailbox
    stop_asked: bool
    shutdown: float

    @property
    def host(self) -> CellHost: ...
    def deliver(self, envelope: Envelope) -> None: ...
    def request_stop(self, end: Exit, grace: float | None, *, drain: bool) -> None: ...
    def run_ready(self, run: IncarnationInterface) -> None: ...
    def run_ending(self, run: IncarnationInterface) -> None: ...
    def run_ended(self, run: IncarnationInterface) -> None: ...


class IncarnationInterface(Sender, Protocol):
    """The incarnation, as its message loop, its context, its cell and its node see it."""

    ref: Ref[Any]
    number: int
    cell: CellInterface
    loop: Loop
    exit: Exit | None
    voluntary: bool
    children: Any

    @property
    def tasks(self) -> ActorTasks: ...
    @property
    def timers(self) -> Timers: ...
    @property
    def watches(self) -> Watches: ...
    @property
    def later_replies(self) -> LaterReplies: ...
    def in_loop(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...
    @property
    def log(self) -> Logger: ...
    @property
    def blocking(self) -> bool: ...
    @property
    def portal(self) -> ThreadPortal: ...
    async def in_thread(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...
    def watch(self, ref: Ref[Any]) -> None: ...
    def unwatch(self, ref: Ref[Any]) -> None: ...
    def request_stop(self) -> None: ...
    def deferral(self) -> BaseException: ...
    async def spawn(
        self, cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any
    ) -> Ref[Any]: ...
    def crash(self, error: BaseException) -> None: ...
    def end(self, how: Exit, *, voluntary: bool) -> None: ...
    def interrupt(self) -> None: ...


class Handling(Protocol):
    """The message loop, as what handles special kinds of messages for it sees it."""

    halt: bool
    turn: Turn

    async def answer_call(self, actor: Any, envelope: Envelope) -> None: ...
    def begin(self, envelope: Envelope) -> bool: ...
    def message_ends_it(self, item: Envelope, error: BaseException) -> bool: ...
    def lose(self, envelope: Envelope) -> None: ...
    def put_off(self, message: Envelope, progress: int) -> None: ...
    def concurrent_ended(self, *, deferred: bool) -> None: ...
