"""A room: one actor that numbers what is said, writes it down, and tells everybody who is there."""

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

import actors

from ._store import Hidden, Said, Store
from .member import Member

__all__ = ["Full", "Room"]

T = TypeVar("T")

_HISTORY: Final = 50
"""Messages that a newcomer gets."""
_RECENT: Final = 256
"""Messages kept in memory; who is further behind is served from the file."""
_BATCH: Final = 64
_BATCH_CHARACTERS: Final = 64 * 1024
"""At most this much goes to a member in one message (and then one more)."""
_ASIDE: Final = 64
"""Answers that wait for one member who does not read; older ones are dropped."""
_SEATS: Final = 256
"""People at a time: each who comes or leaves is told to all."""
_EMPTY: Final = 60.0
"""Seconds after which a room that nobody attends ends; the file has its history."""


class Full(Exception):
    """Nobody else may come in just now."""


@dataclass(slots=True)
class _Seat:
    """Somebody who attends, and how far they have been told."""

    member: actors.Ref[Member]
    name: str
    cursor: int
    aside: deque[Said | tuple[str, str | None]] = field(
        default_factory=lambda: deque(maxlen=_ASIDE)
    )
    people: int = 0


class Room(actors.Actor):
    """Started by the first who comes, ended some time after the last has left.

    Nobody is told before it is in the file, so what was told survives the end of this process.
    Who attends is not in the file: each attends by an `ask` that lasts as long as they stay. When
    the room's node dies that ask fails at once, at their side, and they come again; when their
    node dies it is cancelled here.
    """

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._store = Store(path)
        self._thread = anyio.CapacityLimiter(1)  # the disk may be slow: never on the loop
        self._last = 0
        self._recent: deque[Said] = deque(maxlen=_RECENT)
        self._seats: dict[actors.Ref[Member], _Seat] = {}
        self._comings = 0
        self._news = anyio.Event()

    async def on_start(self) -> None:
        """Open the file and learn the number of the last message."""
        await self._in_thread(self._store.open)
        self._last = await self._in_thread(self._store.last_seq, self._name)
        self.context.tasks.start_soon(self._end_when_empty)

    async def on_stop(self, _exit: actors.Exit) -> None:
        """Close the file."""
        await self._in_thread(self._store.close)

    @actors.concurrent
    async def attend(self, member: actors.Ref[Member], name: str, after: int | None) -> None:
        """Tell *member* all that is said, for as long as this ask lasts.

        Args:
            member: Where to tell it.
            name: Who they are.
            after: The number of the last message they have; None sends the last few.

        Raises:
            Full: As many attend as may.
        """
        if len(self._seats) >= _SEATS:
            raise Full(f"{_SEATS} people are here already: try again later")
        cursor = max(0, self._last - _HISTORY) if after is None else min(after, self._last)
        seat = self._seats[member] = _Seat(member, name, cursor)
        self._people_changed()
        seat.people = self._comings
        try:
            await member.tell(Member.welcome, name, self._people(), self._last)
            while True:
                await self._tell_next(seat)
        finally:
            del self._seats[member]
            self._people_changed()

    async def say(
        self,
        member: actors.Ref[Member],
        id: str | None,  # noqa: A002 - the protocol's word
        text: str,
        to: str | None = None,
    ) -> None:
        """Write down what *member* says and let everybody know; *id* said before counts once.

        What is said *to* one person is written down and numbered like everything: they hear it
        once, now or when they come, and the others hear that there was something.
        """
        seat = self._seats.get(member)
        if seat is None:
            return  # from before a restart: they have heard of that, and will say it again
        try:
            said, fresh = await self._in_thread(
                self._store.append, self._name, id, seat.name, text, to
            )
        except sqlite3.Error as error:
            seat.aside.append((f"not written: {error}", id))
        else:
            if fresh:
                if said.seq != self._last + 1:
                    self._recent.clear()  # what is between is in the file alone
                self._recent.append(said)
                self._last = said.seq
            elif said.seq <= seat.cursor:
                seat.aside.append(said)
        self._tell_news()

    # -- telling -----------------------------------------------------------------------------

    async def _tell_next(self, seat: _Seat) -> None:
        """Tell one thing, or wait until there is one. Only this waits for a slow member."""
        news = self._news
        if seat.people != self._comings:
            seat.people = self._comings
            await seat.member.tell(Member.people, self._people())
        elif seat.aside:
            await self._tell_aside(seat, seat.aside.popleft())
        elif seat.cursor < self._last:
            batch = await self._after(seat.cursor)
            await seat.member.tell(Member.said, _as_seen_by(seat, batch))
            seat.cursor = batch[-1].seq
        else:
            await news.wait()

    async def _tell_aside(self, seat: _Seat, what: Said | tuple[str, str | None]) -> None:
        if isinstance(what, Said):
            await seat.member.tell(Member.said, _as_seen_by(seat, [what]))
        else:
            await seat.member.tell(Member.refused, *what)

    async def _after(self, seq: int) -> list[Said]:
        """Return what follows *seq*: from memory, or from the file if that is too long ago."""
        if self._recent and self._recent[0].seq <= seq + 1:
            first = seq + 1 - self._recent[0].seq
            found = list(islice(self._recent, first, first + _BATCH))
        else:
            found = await self._in_thread(self._store.after, self._name, seq, _BATCH)
        characters = 0
        for count, said in enumerate(found, 1):
            characters += len(said.text)
            if characters > _BATCH_CHARACTERS:
                return found[:count]
        return found

    def _people(self) -> list[str]:
        return sorted(seat.name for seat in self._seats.values())

    def _people_changed(self) -> None:
        self._comings += 1
        self._tell_news()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    # -- the rest ----------------------------------------------------------------------------

    async def _end_when_empty(self) -> None:
        comings = -1
        while self._seats or comings != self._comings:
            comings = self._comings
            await anyio.sleep(_EMPTY)
        self.context.stop()

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await anyio.to_thread.run_sync(work, *args, limiter=self._thread)


def _as_seen_by(seat: _Seat, batch: list[Said]) -> list[Said | Hidden]:
    return [said.as_seen_by(seat.name) for said in batch]
