"""What somebody who follows a group has still to be told; pure.

Rule 1: of each member only the latest is kept, and nothing if that is what was told before. So a slow reader
costs no more memory than the group has members, misses no state, and learns the latest first of all.
Rule 2: members come in the order of their latest change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors._messaging.ref import Ref

__all__ = ["MemberChange", "MemberChanges"]


@dataclass(frozen=True, slots=True)
class MemberChange:
    """A member of a group has joined or left.

    Attributes:
        ref: its address.
        joined: True if it has joined, or says something else of itself now; False if it has left.
        meta: what it says of itself, as given to `Context.join`; when it leaves, what it said last.
    """

    ref: Ref[Any]
    joined: bool
    meta: Any = None


class MemberChanges:
    """Takes every change, and gives those that are still news.

    Attributes:
        told: the members as the reader knows them, and what each says of itself.
    """

    def __init__(self, told: dict[Ref[Any], Any] | None = None) -> None:
        self.told: dict[Ref[Any], Any] = dict(told or {})
        self._news: dict[Ref[Any], MemberChange] = {}

    def __bool__(self) -> bool:
        return bool(self._news)

    def put(self, change: MemberChange) -> None:
        """Take a change."""
        ref, known = change.ref, change.ref in self.told
        self._news.pop(ref, None)
        if change.joined and not (known and self.told[ref] == change.meta):
            self._news[ref] = change
        elif not change.joined and known:
            self._news[ref] = MemberChange(ref, joined=False, meta=self.told[ref])

    def take(self) -> MemberChange:
        """Return the oldest news; the reader knows it from now on.

        Raises:
            KeyError: there are none.
        """
        ref = next(iter(self._news), None)
        change = self._news.pop(ref)  # type: ignore[arg-type] # a KeyError if there is none
        if change.joined:
            self.told[change.ref] = change.meta
        else:
            del self.told[change.ref]
        return change
