"""The fence around abandoned incarnations: what was killed and would not end can reach nobody any more.

Rule 1: an empty fence costs one look at a global per message.
Rule 2: it holds a run for as long as its code still runs, and no longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors._base.errors import ActorStopped
from actors._messaging.envelope import TURN

if TYPE_CHECKING:
    from actors._messaging.envelope import Sender

__all__ = ["FENCED", "refuse_fenced"]

FENCED: Final[set[Sender]] = set()
"""The runs that nobody waits for any more, of every node in this process."""


def refuse_fenced() -> None:
    """Refuse whatever the calling code is about to do, if its actor was abandoned.

    Raises:
        ActorStopped: it was; the actor itself is the one that is over.
    """
    turn = TURN.get()
    if turn is not None and turn.sender in FENCED:
        raise ActorStopped(turn.sender.ref, "it was killed, did not end, and can reach nobody")
