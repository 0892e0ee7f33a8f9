"""Turns of the senders that wait for room: who is let in may send more at once, ahead of those that still wait.

A sender that waits costs the wake of its task, many times the cost of a message. So one wake is for several of
its messages: the quantum of "deficit round robin" (Shreedhar and Varghese, 1995).

Rule 1: turns come in the order in which the senders began to wait; nobody else passes those who wait.
Rule 2: a turn is what one task sends before it waits again, for anything. In the next pass of the loop the
places that it has not used are free for the others.
Rule 3: a turn is as many messages as the actor handles in `SECONDS_PER_TURN`, so that it delays each of the
others by no more than that.
Rule 4: an actor of which another message waits here has no turn, so that its messages keep their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._base.twins import bind

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop

__all__ = ["MOST_PER_TURN", "SECONDS_PER_TURN", "SenderTurns", "longest_turn"]

SECONDS_PER_TURN: Final = 1e-4
MOST_PER_TURN: Final = 32
_PLACES_PER_MESSAGE: Final = 32
"""A turn may hold one of so many places of a mailbox: small ones have turns of one message, which are none."""


def longest_turn(places: int) -> int:
    """Return how many messages a turn has at most, in a mailbox for so many."""
    return min(MOST_PER_TURN, places // _PLACES_PER_MESSAGE)


class SenderTurns:
    """The turns of the senders that wait for room in one mailbox.

    Args:
        loop: of the node.
        longest: how many messages a turn has at most.
        refill: lets in who waits, as far as there is room beside `held`.

    Attributes:
        held: how many places are kept for turns.
        left: how many of them are for the task whose turn it is.
        task: that task.
        me: returns the calling task.
    """

    __slots__ = (
        "_call_soon",
        "_longest",
        "_promised",
        "_refill",
        "_size",
        "_waiting",
        "held",
        "left",
        "me",
        "task",
    )

    def __init__(self, loop: Loop, longest: int, refill: Callable[[], object]) -> None:
        self._call_soon = loop.call_soon
        self._longest = longest
        self._refill = refill
        self._size = 1
        self._promised: dict[object, int] = {}
        """By sender that was let in and has not run since: how many more messages it may send."""
        self._waiting: dict[object, int] = {}
        """How many messages of each actor wait."""
        self.held: int = 0
        self.left: int = 0
        self.task: object = None
        self.me: Callable[[], Any] = loop.current_task

    def pace(self, handled: int, seconds: float) -> None:
        """Note how long the actor has taken for its last messages."""
        most = self._longest
        if handled * SECONDS_PER_TURN < most * seconds:
            most = max(1, int(handled * SECONDS_PER_TURN / seconds))
        self._size = most

    def waits(self, actor: object) -> None:
        """A message of *actor* begins to wait."""
        self._waiting[actor] = self._waiting.get(actor, 0) + 1

    def waits_no_more(self, actor: object) -> None:
        """A message of *actor* was let in, refused or withdrawn."""
        left = self._waiting.pop(actor) - 1
        if left:
            self._waiting[actor] = left

    def promise(self, sender: object) -> None:
        """Keep places for *sender*, which is let in and whose task will run."""
        more = self._size - 1
        if more:
            self._promised[sender] = more
            self.held += more

    def begin(self, sender: object, actor: object) -> None:
        """The task of *sender* runs: it is its turn, which ends that of the one before."""
        more = self._promised.pop(sender, 0)
        if not more:
            return
        self.held -= self.left
        if actor in self._waiting:
            self.held -= more
            more = 0
        self.left, self.task = more, self.me()
        if not self._promised:
            self._call_soon(self._pass_on)

    def forgo(self, sender: object) -> None:
        """*sender* was let in, and its wait was cancelled."""
        more = self._promised.pop(sender, 0)
        self.held -= more
        if more and not self._promised:
            self._call_soon(self._pass_on)

    def goes_on(self) -> bool:
        """Whether the calling task may send one more message, ahead of those that wait."""
        if not self.left or self.task is not self.me():
            return False
        self.left -= 1
        self.held -= 1
        return True

    def _pass_on(self) -> None:
        """The turn that began last is over, as its task has waited since: what is left is for the others."""
        self.held -= self.left
        self.left, self.task = 0, None
        self._refill()

    def end(self) -> None:
        """End all turns, also those that are promised, and let in who has room without them."""
        self._promised.clear()
        self.held = self.left = 0
        self.task = None
        self._refill()


bind(SenderTurns)
