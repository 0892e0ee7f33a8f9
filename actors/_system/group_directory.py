"""All members of all groups, in the process that made the system; and which processes follow which groups.

Rule 1: a process is told of changes only while its link has room; until then they are merged, so that one that
does not read costs no more than the members there are.
Rule 2: a node is believed about its own actors only.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import InvalidSpec, SystemStopped
from actors._groups import (
    MOST_OF_NODE,
    Groups,
    MemberChange,
    MemberChanges,
    check_group,
    check_meta,
)
from actors._remoting import directory_operations as directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.ref import Ref
    from actors._system.system_state import SystemState
    from actors.nodes import Link

__all__ = ["GroupDirectory"]

_AT_ONCE: Final = 64
"""Changes in one note."""


class _Feed:
    """A process that follows a group, and what it has still to be told.

    Args:
        send: takes changes, and whether all is told with them.
        has_room: whether it may be told more now.
    """

    def __init__(
        self,
        number: int,
        send: Callable[[list[list[Any]], bool], None],
        has_room: Callable[[], bool],
    ) -> None:
        self.number = number
        self.changes = MemberChanges()
        self._send = send
        self._has_room = has_room
        self._complete = False

    def flush(self) -> None:
        """Tell it as much as there is room for."""
        while self._has_room() and (self.changes or not self._complete):
            told: list[list[Any]] = []
            while self.changes and len(told) < _AT_ONCE:
                change = self.changes.take()
                told.append([change.ref, change.joined, change.meta])
            self._complete = self._complete or not self.changes
            self._send(told, self._complete)


class GroupDirectory:
    """Every group of the system; the `GroupOffice` of the process that made it."""

    def __init__(self, state: SystemState) -> None:
        self._state = state
        self._members: dict[str, dict[Ref[Any], tuple[Any, str]]] = {}
        """By group and member: what it says of itself, and the process that it is in."""
        self._of_process: dict[str, dict[tuple[str, Ref[Any]], None]] = {}
        self._feeds: dict[str, dict[str, _Feed]] = {}
        self._due: set[_Feed] = set()
        self._here = state.host.name
        self.groups: Groups = Groups(state.host, self)
        self._serve()

    # -- members ----------------------------------------------------------------------------------

    def joined(self, group: str, ref: Ref[Any], meta: Any) -> None:
        """As `GroupOffice.joined`."""
        self._add(self._here, group, ref, meta)

    def left(self, groups: list[str], ref: Ref[Any]) -> None:
        """As `GroupOffice.left`."""
        for group in groups:
            self._remove(self._here, group, ref)

    async def members(self, group: str) -> list[Ref[Any]]:
        """As `GroupOffice.members`."""
        return list(self._members.get(group, ()))

    def _add(self, process: str, group: str, ref: Ref[Any], meta: Any) -> None:
        members = self._members.setdefault(group, {})
        if ref in members:  # perhaps of an earlier run of its node, whose end is not known yet
            self._of_process[members[ref][1]].pop((group, ref), None)
        members[ref] = meta, process
        self._of_process.setdefault(process, {})[group, ref] = None
        self._tell(group, MemberChange(ref, joined=True, meta=meta))

    def _remove(self, process: str, group: str, ref: Ref[Any]) -> None:
        owned = self._of_process.get(process, {})
        if (group, ref) in owned:
            del owned[group, ref]
            self._gone(group, ref)

    def _gone(self, group: str, ref: Ref[Any]) -> None:
        members = self._members[group]
        del members[ref]
        if not members:
            del self._members[group]
        self._tell(group, MemberChange(ref, joined=False))

    # -- who follows -------------------------------------------------------------------------------

    def watch(self, group: str, number: int) -> None:
        """As `GroupOffice.watch`."""
        send = partial(self.groups.changed, group, number)
        self._follow(self._here, group, _Feed(number, send, lambda: True))

    def unwatch(self, group: str, number: int) -> None:
        """As `GroupOffice.unwatch`."""
        self._unfollow(self._here, group, number)

    def _follow(self, process: str, group: str, feed: _Feed) -> None:
        for ref, (meta, _) in self._members.get(group, {}).items():
            feed.changes.put(MemberChange(ref, joined=True, meta=meta))
        self._feeds.setdefault(group, {})[process] = feed
        self._flush_soon(feed)

    def _unfollow(self, process: str, group: str, number: int) -> None:
        feeds = self._feeds.get(group, {})
        if process in feeds and feeds[process].number == number:
            self._due.discard(feeds.pop(process))
            if not feeds:
                del self._feeds[group]

    def _tell(self, group: str, change: MemberChange) -> None:
        for feed in self._feeds.get(group, {}).values():
            feed.changes.put(change)
            self._flush_soon(feed)

    def _flush_soon(self, feed: _Feed) -> None:
        """Tell a process all changes of this turn of the loop together."""
        if not self._due:
            self._state.loop.call_soon(self._flush)
        self._due.add(feed)

    def _flush(self) -> None:
        due, self._due = self._due, set()
        for feed in due:
            feed.flush()

    def _link_has_room(self, process: str) -> None:
        for feeds in self._feeds.values():
            if process in feeds:
                self._flush_soon(feeds[process])

    # -- nodes -------------------------------------------------------------------------------------

    def _serve(self) -> None:
        handlers = self._state.host.handlers
        handlers.on_note(directory.group_joined, self._node_joined)
        handlers.on_note(directory.groups_left, self._node_left)
        handlers.on_call(directory.group_members, lambda _, group: self.members(group))
        handlers.on_note(directory.watch_group, self._node_watches)
        handlers.on_note(
            directory.unwatch_group,
            lambda link, group, number: self._unfollow(link.peer, group, number),
        )

    def _node_joined(self, link: Link, group: str, ref: Ref[Any], meta: Any) -> None:
        owned = self._of_process.get(link.peer, {})
        try:
            check_group(group)
            check_meta(group, meta)
        except InvalidSpec:
            allowed = False
        else:
            allowed = self._has(link, ref)
        if not allowed or len(owned) >= MOST_OF_NODE:
            facts = {"node": link.peer, "kind": "group_joined"}
            self._state.event("report_refused", facts)
        else:
            self._add(link.peer, group, ref, meta)

    def _has(self, link: Link, ref: Ref[Any]) -> bool:
        """Return whether the actor of *ref* is on the node at the other end of *link*."""
        run, actor = self._state.runs.get(link.peer), self._state.supervised.get(ref.uid)
        if run is None:
            return False
        return ref.uid >> 32 == run.number or (actor is not None and actor.place is run.node)

    def _node_left(self, link: Link, groups: list[str], ref: Ref[Any]) -> None:
        for group in groups:
            self._remove(link.peer, group, ref)

    def _node_watches(self, link: Link, group: str, number: int) -> None:
        def send(changes: list[list[Any]], complete: bool) -> None:  # noqa: FBT001 - a wire field
            link.note(directory.group_changes, group, number, changes, complete)

        def has_room() -> bool:
            return link.closed is None and not link.out.congested

        self._state.host.told_of_room = self._link_has_room
        self._follow(link.peer, group, _Feed(number, send, has_room))

    def node_ended(self, process: str) -> None:
        """End the memberships of a process that has ended, and what it followed."""
        for group, ref in self._of_process.pop(process, {}):
            self._gone(group, ref)
        for group in list(self._feeds):
            feed = self._feeds[group].pop(process, None)
            if feed is not None:
                self._due.discard(feed)
            if not self._feeds[group]:
                del self._feeds[group]

    def close(self) -> None:
        """End what is followed in this process: the system has ended."""
        self.groups.end(SystemStopped("the system has ended: nobody joins or leaves any more"))
