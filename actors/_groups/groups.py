"""The groups as one process knows them: which actors of this process are in them, and who follows them here.

Rule 1: a membership belongs to the incarnation that joined, as its timers do; it ends when that begins to end.
Rule 2: the parent has all members of all groups; a process has a copy of those that somebody follows in it.

The models are Erlang's `pg`, Phoenix's Presence and Akka's Receptionist.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from actors._base.errors import LimitReached
from actors._groups.changes import MemberChange
from actors._groups.limits import MOST_OF_ACTOR, MOST_OF_NODE, check_group, check_meta
from actors._groups.watch import MembersWatch
from actors._messaging.turn import refuse_fenced
from actors._remoting import directory_operations as directory
from actors.transport import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from actors._base.loop import Waiter
    from actors._messaging.ref import Ref
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.link import Link

__all__ = ["GroupOffice", "Groups", "LinkGroupOffice"]


class GroupOffice(Protocol):
    """The parent, as the groups of a process see it. What is asked for first is done first."""

    def joined(self, group: str, ref: Ref[Any], meta: Any) -> None: ...
    def left(self, groups: list[str], ref: Ref[Any]) -> None: ...
    async def members(self, group: str) -> list[Ref[Any]]: ...
    def watch(self, group: str, number: int) -> None: ...
    def unwatch(self, group: str, number: int) -> None: ...


class _Copy:
    """A group that is followed here.

    Attributes:
        number: of this copy; what comes for an earlier one is dropped.
        members: in the order they joined, and what each says of itself.
        complete: whether all members there were when this copy began have come.
        users: how many follow it, or wait for it to be complete.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.members: dict[Ref[Any], Any] = {}
        self.complete = False
        self.users = 0
        self.readers: list[MembersWatch] = []
        self.waiters: list[Waiter] = []


class Groups:
    """The groups of one process.

    Args:
        host: of the process.
        office: the parent.
    """

    def __init__(self, host: ActorHost, office: GroupOffice) -> None:
        self._host = host
        self._office = office
        self._numbers = count(1)
        self._copies: dict[str, _Copy] = {}
        self._memberships = 0
        host.groups = self

    def serve(self) -> None:
        """Take what the parent says over the link; in the parent's own process it calls directly."""
        self._host.handlers.on_note(
            directory.group_changes, lambda _, *changes: self.changed(*changes)
        )

    # -- the actors of this process --------------------------------------------------------------

    async def join(self, mine: set[str], ref: Ref[Any], group: str, meta: Any) -> None:
        """Make an actor of this process a member of a group; when this returns, every process can see it.

        Args:
            mine: the groups that its incarnation is in.
            ref: its address.
            group: the name.
            meta: what it says of itself.

        Raises:
            InvalidSpec: a name or a *meta* that can never work.
            LimitReached: it is in too many groups, or the actors of this process together are.
        """
        check_group(group)
        check_meta(group, meta)
        if group not in mine:
            self._check_room(mine, group)
            mine.add(group)
            self._memberships += 1
        self._office.joined(group, ref, snapshot(meta))
        await self._office.members(group)  # the answer comes behind the news

    def _check_room(self, mine: set[str], group: str) -> None:
        if len(mine) >= MOST_OF_ACTOR:
            raise LimitReached(
                f"join({group!r}): this actor is in {len(mine)} groups, as many as one may be"
            )
        if self._memberships >= MOST_OF_NODE:
            raise LimitReached(
                f"join({group!r}): the actors of {self._host.name} have {self._memberships} memberships, "
                f"as many as those of one node may have"
            )

    async def leave(self, mine: set[str], ref: Ref[Any], group: str) -> None:
        """End a membership, if there is one; when this returns, every process can see it."""
        if group in mine:
            self.left(mine, ref, [group])
            await self._office.members(group)

    def left(self, mine: set[str], ref: Ref[Any], groups: list[str]) -> None:
        """End memberships of an actor."""
        mine.difference_update(groups)
        self._memberships -= len(groups)
        self._office.left(groups, ref)

    # -- those who look --------------------------------------------------------------------------

    async def members(self, group: str) -> list[Ref[Any]]:
        """Return the members of a group, in the order they joined.

        Raises:
            InvalidSpec: a name that no group can have.
        """
        check_group(group)
        return await self._office.members(group)

    @asynccontextmanager
    async def watch(self, group: str) -> AsyncIterator[MembersWatch]:
        """Give the members now, and every change from now on."""
        check_group(group)
        refuse_fenced()
        copy = self._copies.get(group)
        if copy is None:
            copy = self._copies[group] = _Copy(next(self._numbers))
            self._office.watch(group, copy.number)
        copy.users += 1
        reader: MembersWatch | None = None
        try:
            while not copy.complete:
                waiter = self._host.loop.waiter()
                copy.waiters.append(waiter)
                await waiter
            reader = MembersWatch(self._host.loop.waiter, copy.members)
            copy.readers.append(reader)
            yield reader
        finally:
            if reader is not None:
                copy.readers.remove(reader)
            copy.users -= 1
            if not copy.users and self._copies.get(group) is copy:
                del self._copies[group]
                self._office.unwatch(group, copy.number)

    def changed(
        self,
        group: str,
        number: int,
        changes: Sequence[Sequence[Any]],
        complete: bool,  # noqa: FBT001 - a wire field
    ) -> None:
        """Take news of a group that is followed here.

        Args:
            group: its name.
            number: of the copy that they are for.
            changes: a ref, whether it has joined, and what it says of itself, each.
            complete: whether all is known with them that was known when the copy began.
        """
        copy = self._copies.get(group)
        if copy is None or copy.number != number:
            return
        for ref, joined, meta in changes:
            copy.members.pop(ref, None)
            if joined:
                copy.members[ref] = meta
            for reader in copy.readers:
                reader.put(MemberChange(ref, joined, meta))
        if complete and not copy.complete:
            copy.complete = True
            for waiter in copy.waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def end(self, error: Exception) -> None:
        """The system has ended: raise *error* at those who follow groups."""
        copies, self._copies = self._copies, {}
        for copy in copies.values():
            for reader in copy.readers:
                reader.end(error)
            for waiter in copy.waiters:
                if not waiter.done():
                    waiter.set_exception(error)


class LinkGroupOffice:
    """The parent, as the groups of a node reach it: over the link."""

    def __init__(self, parent: Link) -> None:
        self._parent = parent

    def joined(self, group: str, ref: Ref[Any], meta: Any) -> None:
        """As `GroupOffice.joined`."""
        self._parent.note(directory.group_joined, group, ref, meta)

    def left(self, groups: list[str], ref: Ref[Any]) -> None:
        """As `GroupOffice.left`."""
        self._parent.note(directory.groups_left, groups, ref)

    async def members(self, group: str) -> list[Ref[Any]]:
        """As `GroupOffice.members`."""
        return await self._parent.call(directory.group_members, group)

    def watch(self, group: str, number: int) -> None:
        """As `GroupOffice.watch`."""
        self._parent.note(directory.watch_group, group, number)

    def unwatch(self, group: str, number: int) -> None:
        """As `GroupOffice.unwatch`."""
        self._parent.note(directory.unwatch_group, group, number)
