"""Which big messages wait to be written, and what is sent behind them; no I/O.

A message of more than `PIECE` bytes goes in a lane of its own kind, piece by piece, and others pass it. So
that messages to one receiver keep their order, whatever is sent to it meanwhile goes in the same lane.
"""

from collections import deque
from collections.abc import Hashable
from typing import Any, Final

from actors.transport.errors import NoRoom
from actors.transport.wire.frames import BULK_LANES, PIECE, Lane

__all__ = ["Bulk"]

_FULL: Final = 1024 * 1024
"""Bytes of one lane from which senders wait."""
_KEYS: Final = (int, str)
_NEVER: Final = 1 << 62


def _key(message: list[Any]) -> Hashable:
    """What the messages have in common that keep their order: their second field, most often a receiver."""
    key = message[1] if len(message) > 1 else None
    return key if type(key) in _KEYS else None


class Bulk:
    """The lanes of big messages.

    Args:
        refusable: the kinds of messages, their first fields, whose senders can wait for room.
    """

    def __init__(self, refusable: frozenset[int]) -> None:
        self._refusable = refusable
        self.behind: dict[Hashable, list[int]] = {}
        """By key, the lane and how many messages in it that are not begun to the last piece."""
        self._orders = {lane: deque[tuple[int, Hashable, int]]() for lane in BULK_LANES}
        """Of each lane: the number, key and size of every message."""
        self._sizes = dict.fromkeys(BULK_LANES, 0)
        self._added = 0
        self._held: deque[tuple[int, list[Any]]] = deque()
        self.refused: bool = False
        """Whether a message was refused since `has_room` was last true."""
        self._piece = PIECE

    def switch_off(self) -> list[list[Any]]:
        """Have no such lanes from now on: nothing is written in pieces.

        Returns:
            what was held and is to be sent behind all that was packed.
        """
        self._piece = _NEVER
        self.behind.clear()
        held = [message for _, message in self._held]
        self._held.clear()
        return held

    def lane(self, message: list[Any], size: int) -> int:
        """The lane of a message that is to be sent now.

        Raises:
            NoRoom: too much waits there already.
        """
        place = self.behind.get(_key(message))
        if place is not None:
            lane = place[0]
        elif size > self._piece:
            lane = self._emptiest()
        else:
            return Lane.DATA
        ahead = self._sizes[lane]
        if ahead >= _FULL and size <= self._piece:
            ahead -= self._orders[lane][0][-1]  # small ones may wait behind one of any size
        if ahead >= _FULL and message[0] in self._refusable:
            self.refused = True
            raise NoRoom(f"{ahead} bytes of big messages wait to be written")
        return lane

    def _emptiest(self) -> int:
        return min(BULK_LANES, key=self._sizes.__getitem__)

    def full_for(self, key: Hashable) -> bool:
        """Whether a big message with that key would be refused; then that counts as `refused`."""
        place = self.behind.get(key)
        full = self._sizes[self._emptiest() if place is None else place[0]] >= _FULL
        self.refused = self.refused or full
        return full

    def has_room(self) -> bool:
        """Whether one of the lanes takes more."""
        return self._sizes[self._emptiest()] < _FULL

    @property
    def size(self) -> int:
        """Bytes in all lanes."""
        return sum(self._sizes.values())

    def add(self, message: list[Any], size: int, lane: int) -> None:
        """Record a message that was packed for one of the lanes."""
        key = _key(message)
        self.behind.setdefault(key, [lane, 0])[1] += 1
        self._added += 1
        self._orders[lane].append((self._added, key, size))
        self._sizes[lane] += size

    def hold(self, message: list[Any]) -> bool:
        """Keep a small message until every big one that was sent before it is written, if there is one."""
        if self.behind:
            self._held.append((self._added, message))
        return bool(self.behind)

    def begun(self, lane: int) -> list[list[Any]]:
        """The last piece of the lane's oldest message is being written: what is sent next comes behind it.

        Returns:
            what was held and is to be sent now.
        """
        _, key, size = self._orders[lane].popleft()
        self._sizes[lane] -= size
        place = self.behind[key]
        place[1] -= 1
        if not place[1]:
            del self.behind[key]
        oldest = min((order[0][0] for order in self._orders.values() if order), default=_NEVER)
        free = []
        while self._held and self._held[0][0] < oldest:
            free.append(self._held.popleft()[1])
        return free
