"""Faults for tests: messages that are lost or late on their way, actors and nodes that are killed.

Rule: only messages that this process sends are met; what another node sends goes its own way.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors._actor.cell import Cell
from actors._base.errors import ActorsError
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import MESSAGES
from actors._messaging.ref import Ref
from actors._remoting.remote_actor import RemoteActor
from actors._system.system import coordinator_of
from actors.nodes import Node
from actors.testing import crash
from actors.transport import snapshot_args

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from actors._messaging.message_table import Handler
    from actors._messaging.turn import Target
    from actors._system.system import System

__all__ = ["Fault", "Faults"]

_SENDERS: Final[tuple[Any, ...]] = (Cell, RemoteActor)
_ACTIVE: Final[list[Faults]] = []
_ORIGINALS: Final[dict[Any, tuple[Any, Any]]] = {}


class Fault:
    """What happens to some messages, and how often it has.

    Attributes:
        hits: how many messages it has met.
    """

    def __init__(
        self, to: Ref[Any] | str, message: str | None, times: int | None, seconds: float | None
    ) -> None:
        self._to = to
        self._message = message
        self._left = times
        self.seconds = seconds
        self.hits: int = 0

    def meets(self, target: Target, handler: Handler) -> bool:
        """Whether a message is one of those; counts it."""
        if self._left == 0 or handler.kind not in MESSAGES:
            return False
        if self._message is not None and handler.name != self._message:
            return False
        ref = target.ref
        to = self._to
        node = isinstance(to, str) and (ref.node == to or ref.node.partition("/")[0] == to)
        if not node and ref != to:
            return False
        self.hits += 1
        if self._left is not None:
            self._left -= 1
        return True


class Faults:
    """Loses, delays and kills, until the block ends: ``with Faults(system) as faults``.

    In tests that use the pytest plugin it is the fixture ``actors_faults``.

    Args:
        system: the running system; in the process that made it.
    """

    def __init__(self, system: System) -> None:
        self._loop = coordinator_of(system).loop
        self._faults: list[Fault] = []

    def __enter__(self) -> Self:
        if not _ACTIVE:
            _install()
        _ACTIVE.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()
        _ACTIVE.remove(self)
        if not _ACTIVE:
            _uninstall()

    def drop(
        self,
        to: Ref[Any] | Node | str,
        message: Callable[..., Any] | None = None,
        *,
        times: int | None = None,
    ) -> Fault:
        """Lose messages that this process sends: a tell does nothing, an ask waits for its deadline.

        Args:
            to: an actor, a node, or the name of a node or of a group.
            message: only calls of this method (``Counter.add``); None is all.
            times: how many; None is all.

        Raises:
            ActorsError: *to* is none of these, or *times* no number of messages.
        """
        return self._add(to, message, times, None)

    def delay(
        self,
        to: Ref[Any] | Node | str,
        seconds: float,
        message: Callable[..., Any] | None = None,
        *,
        times: int | None = None,
    ) -> Fault:
        """Deliver messages *seconds* later than they were sent; what is not delayed overtakes them.

        Args:
            to: as for `drop`.
            seconds: how much later.
            message: as for `drop`.
            times: as for `drop`.

        Raises:
            ActorsError: as `drop`, or *seconds* is negative.
        """
        if not seconds >= 0:
            raise ActorsError(f"seconds must be 0 or more, got {seconds!r}")
        return self._add(to, message, times, seconds)

    async def kill(self, victim: Ref[Any] | Node) -> None:
        """Kill an actor, or a node: the process of a process node by SIGKILL, which is waited for.

        Raises:
            ActorsError: it is neither, or a node that is not running.
        """
        if isinstance(victim, Ref):
            victim.kill()
        elif not isinstance(victim, Node):
            raise ActorsError(f"kill takes an actor's ref or a node, got {victim!r}")
        elif victim.kind == "process":
            await crash(victim)
        else:
            victim.kill()

    def clear(self) -> None:
        """End all faults; what is delayed comes at its time."""
        self._faults.clear()

    def _add(
        self,
        to: Ref[Any] | Node | str,
        message: Callable[..., Any] | None,
        times: int | None,
        seconds: float | None,
    ) -> Fault:
        if not isinstance(to, (Ref, Node, str)):
            raise ActorsError(
                f"faults are for an actor's ref, a node, or the name of one, got {to!r}"
            )
        if times is not None and (type(times) is not int or times < 1):
            raise ActorsError(f"times must be a whole number of 1 or more, got {times!r}")
        name = None if message is None else message.__name__
        fault = Fault(to.name if isinstance(to, Node) else to, name, times, seconds)
        self._faults.append(fault)
        return fault

    def take(self, target: Target, envelope: Envelope) -> bool:
        """Take *envelope* from its way if one of the faults meets it."""
        fault = next((one for one in self._faults if one.meets(target, envelope.handler)), None)
        if fault is None:
            return False
        if fault.seconds is not None:
            args, kwargs = snapshot_args(envelope.args, envelope.kwargs)
            late = Envelope(envelope.handler, args, kwargs, envelope.reply)
            late.deadline = envelope.deadline
            self._loop.call_later(fault.seconds, self._deliver, target, late)
        return True

    def _deliver(self, target: Target, envelope: Envelope) -> None:
        reply = envelope.reply
        if reply is not None and reply.done():
            return  # nobody waits any more
        self._loop.start(partial(_send, target, envelope), name="delayed message", fresh=True)


async def _send(target: Target, envelope: Envelope) -> None:
    """Send a delayed message; who asked gets the error of one that cannot be sent any more."""
    try:
        _, try_send = _ORIGINALS.get(_kind_of(target)) or (None, type(target).try_send)
        if not try_send(target, envelope):
            await target.send_when_room(envelope)
    except ActorsError as error:
        if envelope.reply is not None and not envelope.reply.done():
            envelope.reply.set_exception(error)


def _kind_of(target: Target) -> Any:
    return Cell if isinstance(target, Cell) else RemoteActor


def _install() -> None:
    for cls in _SENDERS:
        _ORIGINALS[cls] = (cls.send, cls.try_send)
        cls.send, cls.try_send = _faulty(*_ORIGINALS[cls])


def _uninstall() -> None:
    for cls in _SENDERS:
        cls.send, cls.try_send = _ORIGINALS.pop(cls)


def _faulty(send: Any, try_send: Any) -> tuple[Any, Any]:
    """Return the two ways to send a message, past the faults that are active."""

    def faulty_send(target: Target, handler: Handler, args: Any, kwargs: Any) -> bool:
        envelope = Envelope(handler, args, kwargs)
        if any(faults.take(target, envelope) for faults in _ACTIVE):
            return True
        sent: bool = send(target, handler, args, kwargs)
        return sent

    def faulty_try_send(target: Target, envelope: Envelope) -> bool:
        if any(faults.take(target, envelope) for faults in _ACTIVE):
            return True
        sent: bool = try_send(target, envelope)
        return sent

    return faulty_send, faulty_try_send
