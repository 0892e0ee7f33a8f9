"""The starts of actors that the parent supervises, on their node: those it asks for, and the node's own.

An actor that the node starts for itself does not wait for the parent, which gets its spec and supervises it
from then on. It needs a number that the parent has given, and given numbers are the permission: a node that
drains has none, and asks.

Rule: such a start returns when its spec and its success are written to the link, which the parent reads to its
end when this process dies. So whoever has the address of an actor may count on its restart.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import nullcontext
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from actors._base.errors import InvalidSpec, start_failed
from actors._messaging.deadlock import waiting_chain
from actors._messaging.mailbox_options import packed, unpacked
from actors._remoting import operations as ops
from actors._remoting.actor_host import class_path
from actors._remoting.constructor_args import pack_arguments, unpack_arguments
from actors.nodes._local import state_for
from actors.nodes.child_actors import check_actor_options
from actors.supervisors import Exit
from actors.transport import SharedBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._actor.cell import Cell
    from actors._base.log import Logger
    from actors._messaging.ref import Ref
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.link import Link
    from actors.nodes.health.heartbeat import Heartbeat

__all__ = ["ActorStarts", "generated_name"]


class ActorStarts:
    """Starts actors on this node that the parent supervises.

    Args:
        host: the node.
        parent: the link to the parent.
        heartbeat: pauses while a class is imported.

    Attributes:
        leaving: whether this node is finishing what it has, to end then.
    """

    def __init__(self, host: ActorHost, parent: Link, heartbeat: Heartbeat, log: Logger) -> None:
        self.leaving: bool = False
        self._host = host
        self._parent = parent
        self._heartbeat = heartbeat
        self._log = log
        self._numbers: deque[int] = deque()

    def serve(self) -> None:
        """Serve what the parent asks for."""
        handlers = self._host.handlers
        handlers.on_call(ops.start_actor, self._start_actor)
        handlers.on_note(ops.expect_actor, self._expect_actor)
        handlers.on_note(ops.take_numbers, self._take_numbers)

    # -- what the parent asks for --------------------------------------------------------------

    async def _start_actor(  # noqa: PLR0917 - wire fields
        self,
        _link: Link,
        uid: int,
        name: str,
        path: str,
        mailbox: int | list[Any],
        incarnation: int,
        fence: int,
        shutdown: float,
        arguments: Sequence[bytes | SharedBuffer],
        chain: ops.Chain,
        state: Sequence[bytes | SharedBuffer],
    ) -> None:
        try:
            cell = self._cell(uid, name, path, mailbox)
        except InvalidSpec:
            raise
        except Exception as error:
            raise start_failed(f"{name} on node {self._host.name}", error) from error
        # The parent counts incarnations, because a node that dies loses its count.
        cell.number = incarnation - 1
        waiting = tuple((number, waiter) for number, waiter in chain)
        restored = state_for(self._host, cell, state)
        await self._run(cell, arguments, shutdown, waiting, fence, restored)

    async def _run(
        self,
        cell: Cell,
        arguments: Sequence[bytes | SharedBuffer],
        shutdown: float,
        chain: tuple[tuple[int, str], ...],
        fence: int,
        state: tuple[Any, ...] = (),
    ) -> None:
        """Run the next incarnation; return when it is ready, and tell the parent how it ends."""
        parent, uid, incarnation = self._parent, cell.ref.uid, cell.number + 1

        def ended(end: Exit, voluntary: bool) -> None:  # noqa: FBT001 - the signature of Ended
            if self.leaving and not voluntary and not end.abnormal:
                # Nobody asked this actor to end: it ends with its node and is restarted after it.
                end = Exit.NODE_DOWN(f"{self._host.name}: it is draining")
            parent.note(ops.actor_ended, uid, incarnation, end, voluntary)

        async def renewed(state: Any) -> None:
            kept = pack_arguments(self._host, (state,), {})
            await parent.call(ops.actor_renewed, uid, incarnation, kept)

        # Unpacked at every start, so that no incarnation sees what an earlier one changed in them.
        args, kwargs = unpack_arguments(self._host, arguments)
        await cell.start(
            args,
            kwargs,
            ended,
            fence=fence,
            shutdown=shutdown,
            chain=chain,
            state=state,
            renewed=renewed,
        )

    def _cell(self, uid: int, name: str, path: str, sent: int | list[Any]) -> Cell:
        cell = self._host.cells.get(uid)
        if cell is None:
            module, _, qualname = path.partition(":")
            # The first actor of a class may import a large library.
            with nullcontext() if module in sys.modules else self._heartbeat.paused():
                cls = self._host.resolve_class(module, qualname)
            # Before anything of it runs: the request may come from another node.
            mailbox = unpacked(sent)
            check_actor_options(cls, name, mailbox)
            cell = self._host.new_cell(uid, name, cls, mailbox)
        return cell

    def _expect_actor(
        self, _link: Link, uid: int, name: str, path: str, mailbox: int | list[Any]
    ) -> None:
        """Make the cell of an actor that is about to be restarted: its messages queue from now on."""
        try:
            self._cell(uid, name, path, mailbox)
        except Exception as error:  # noqa: BLE001 - the start that follows fails the same way, and is reported
            self._log.warning("cannot prepare actor", actor=name, error=str(error))

    def _take_numbers(self, _link: Link, first: int, count: int) -> None:
        if count:
            self._numbers.extend(range(first, first + count))
        else:
            self._numbers.clear()

    # -- the node's own -----------------------------------------------------------------------

    def may_start(self, cls: type) -> bool:
        """Whether an actor of this class may be started without asking the parent first."""
        if not self._numbers:
            return False
        try:
            return self._host.resolve_class(*class_path(cls).split(":")) is cls
        except Exception:  # noqa: BLE001 - a later run could not start it: the parent says how that fails
            return False

    async def start(
        self, cls: type, arguments: list[bytes | SharedBuffer], options: ops.SpawnOptions
    ) -> Ref[Any]:
        """Start an unnamed actor that `may_start`.

        Raises:
            StartFailed: it never became ready.
        """
        host, parent, uid = self._host, self._parent, self._numbers.popleft()
        path = class_path(cls)
        name = generated_name(path, uid)
        restart, backoff, shutdown = options["restart"], options["backoff"], options["shutdown"]
        cell = host.new_cell(uid, name, cls, options["mailbox"])
        parent.note(
            ops.adopt_actor,
            uid,
            path,
            packed(cell.ref.bounds),
            None if restart is None else restart.name,
            [] if backoff is None else list(astuple(backoff)),
            shutdown,
            arguments,
        )
        try:
            # Later ones are the parent's to give, and greater than what it gave to this run at its start.
            fence = host.fences.first
            await self._run(cell, arguments, shutdown, waiting_chain(), fence)
            parent.note(ops.actor_started, uid)
            await parent.control_written()
        except BaseException as error:
            end = Exit.CRASHED(error) if isinstance(error, Exception) else Exit.KILLED
            parent.note(ops.actor_not_started, uid, end)
            raise
        return cell.ref


def generated_name(path: str, uid: int) -> str:
    """Return the name of an actor that was given none."""
    return f"{path.rpartition(':')[2].rpartition('.')[2]}-{uid}"
