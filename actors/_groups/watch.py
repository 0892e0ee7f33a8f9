"""What a reader of `System.watch_members` holds: the members now, and every change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._base.readers import Readers
from actors._groups.changes import MemberChange, MemberChanges
from actors.transport import snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors._base.loop import Waiter
    from actors._messaging.ref import Ref

__all__ = ["MembersWatch"]


class MembersWatch:
    """The members of a group, and a change for each that joins or leaves; see `System.watch_members`.

    Iterate over it: ``async for change in lobby`` gives a `MemberChange` each time.
    """

    def __init__(self, make_waiter: Callable[[], Waiter], members: dict[Ref[Any], Any]) -> None:
        self._readers = Readers(make_waiter)
        self._changes = MemberChanges(members)
        self._ended: Exception | None = None

    @property
    def members(self) -> dict[Ref[Any], Any]:
        """The members, and what each says of itself: as of the last change that was read, in joining order."""
        return {ref: snapshot(meta) for ref, meta in self._changes.told.items()}

    def put(self, change: MemberChange) -> None:
        """Take a change."""
        self._changes.put(change)
        if self._changes:
            self._readers.wake()

    def end(self, error: Exception) -> None:
        """Raise *error* at the reader when it has read what there is: no more changes come."""
        self._ended = error
        self._readers.wake()

    def __aiter__(self) -> AsyncIterator[MemberChange]:
        return self

    async def __anext__(self) -> MemberChange:
        while not self._changes:
            if self._ended is not None:
                raise self._ended
            await self._readers.wait()
        change = self._changes.take()
        return MemberChange(change.ref, change.joined, snapshot(change.meta))
