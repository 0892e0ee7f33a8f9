"""What an incarnation needs of its surroundings: the cell it is a run of, and that cell's node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from actors.supervisors import Exit

if TYPE_CHECKING:
    from actors._messaging.mailbox import Envelope, Mailbox
    from actors._messaging.ref import Ref, RefHost
    from actors._messaging.turn import Asker

__all__ = ["CellInterface", "Ended", "IncarnationHost", "RunningIncarnation"]

Ended: TypeAlias = Callable[[Exit, bool], None]
"""Told once how an incarnation ended, and whether it had asked to: then it is not restarted."""


class RunningIncarnation(Protocol):
    """An incarnation, as its surroundings see it."""

    ref: Ref[Any]
    children: Any


class IncarnationHost(Protocol):
    """The node, as an incarnation sees it."""

    name: str
    system: Any
    over: bool

    @property
    def as_host(self) -> RefHost: ...
    def dead_letter(self, ref: Ref[Any], envelope: Envelope, why: str) -> None: ...
    def message_failed(self, ref: Ref[Any], envelope: Envelope, error: BaseException) -> None: ...
    async def spawn_child(
        self, parent: RunningIncarnation, cls: type, args: Any, kwargs: Any, **options: Any
    ) -> Ref[Any]: ...
    async def stop_children(self, parent: RunningIncarnation, *, kill: bool) -> None: ...


class CellInterface(Protocol):
    """The cell, as its incarnation sees it: what outlives this run."""

    ref: Ref[Any]
    cls: type
    mailbox: Mailbox
    stop_asked: bool
    shutdown: float

    @property
    def host(self) -> IncarnationHost: ...
    def as_target(self) -> Asker: ...
    def deliver(self, envelope: Envelope) -> None: ...
    def request_stop(self, end: Exit, grace: float | None, *, drain: bool) -> None: ...
    def run_ready(self, run: RunningIncarnation) -> None: ...
    def run_ending(self, run: RunningIncarnation) -> None: ...
    def run_ended(self, run: RunningIncarnation) -> None: ...
