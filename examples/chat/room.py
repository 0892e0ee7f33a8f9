"""A room: one actor that numbers messages, stores them, and sends them to all members."""

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
"""Messages that a new member is sent."""
_RECENT: Final = 256
"""Messages kept in memory; older ones are read from the file."""
_BATCH: Final = 64
_BATCH_CHARACTERS: Final = 64 * 1024
"""A batch ends with the message that exceeds this number of characters."""
_MOST_REPLIES: Final = 64
"""Replies that wait for one member who does not read; older ones are dropped."""
_MOST_MEMBERS: Final = 256
"""A limit, because all members are sent the list of names whenever it changes."""


class Full(Exception):
    """The room has as many members as it may have."""


@dataclass(slots=True)
class _Attendance:
    """A member who attends, and what they have been sent."""

    member: actors.Ref[Member]
    name: str
    sent: int
    replies: deque[Said | tuple[str, str | None]] = field(
        default_factory=lambda: deque(maxlen=_MOST_REPLIES)
    )
    people: int = 0


class Room(actors.Actor):
    """Started by the first member, ended some time after the last has left: it is not idle while they attend.

    A message is sent to members after it is stored, so what they have seen survives a crash of this node.
    A member attends by an `ask` that lasts as long as they stay. If the node of the room dies, that ask
    fails at once and they attend again; if their own node dies, the ask is cancelled here.
    """

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._store = Store(path)
        self._thread = anyio.CapacityLimiter(1)  # the disk may be slow, and must not block the loop
        self._last = 0
        self._recent: deque[Said] = deque(maxlen=_RECENT)
        self._members: dict[actors.Ref[Member], _Attendance] = {}
        self._people_version = 0
        self._changed = anyio.Event()

    async def on_start(self) -> None:
        """Open the file and learn the number of the last message."""
        await self._in_thread(self._store.open)
        self._last = await self._in_thread(self._store.last_seq, self._name)

    async def on_stop(self, _exit: actors.Exit) -> None:
        """Close the file."""
        await self._in_thread(self._store.close)

    @actors.concurrent
    async def attend(self, member: actors.Ref[Member], name: str, after: int | None) -> None:
        """Send *member* all messages, for as long as this ask lasts.

        Args:
            member: The actor that receives them.
            name: The name that others see.
            after: The number of the last message they have; None sends the last few.

        Raises:
            Full: The room has as many members as it may have.
        """
        if len(self._members) >= _MOST_MEMBERS:
            raise Full(f"{_MOST_MEMBERS} people are here already: try again later")
        sent = max(0, self._last - _HISTORY) if after is None else min(after, self._last)
        attendance = self._members[member] = _Attendance(member, name, sent)
        self._people_changed()
        attendance.people = self._people_version
        try:
            await member.tell(Member.welcome, name, self._people(), self._last)
            while True:
                await self._send_next(attendance)
        finally:
            del self._members[member]
            self._people_changed()

    async def say(
        self,
        member: actors.Ref[Member],
        id: str | None,  # noqa: A002 - the protocol's word
        text: str,
        to: str | None = None,
    ) -> None:
        """Store a message of *member*, and send it to all; an *id* that is stored already is not stored again.

        A private message, *to* one person, is stored and numbered as any other; the others are sent
        only its number.
        """
        attendance = self._members.get(member)
        if attendance is None:
            return  # sent before a restart of this room: they attend again, and repeat it
        try:
            said, fresh = await self._in_thread(
                self._store.append, self._name, id, attendance.name, text, to
            )
        except sqlite3.Error as error:
            attendance.replies.append((f"not written: {error}", id))
        else:
            if fresh:
                if said.seq != self._last + 1:
                    self._recent.clear()  # the messages between are only in the file
                self._recent.append(said)
                self._last = said.seq
            elif said.seq <= attendance.sent:
                attendance.replies.append(said)
        self._notify()

    async def _send_next(self, attendance: _Attendance) -> None:
        """Send one thing, or wait until there is one. Only this task waits for a slow member."""
        changed = self._changed
        if attendance.people != self._people_version:
            attendance.people = self._people_version
            await attendance.member.tell(Member.people, self._people())
        elif attendance.replies:
            await self._send_reply(attendance, attendance.replies.popleft())
        elif attendance.sent < self._last:
            batch = await self._after(attendance.sent)
            await attendance.member.tell(Member.said, _as_seen_by(attendance, batch))
            attendance.sent = batch[-1].seq
        else:
            await changed.wait()

    async def _send_reply(
        self, attendance: _Attendance, what: Said | tuple[str, str | None]
    ) -> None:
        if isinstance(what, Said):
            await attendance.member.tell(Member.said, _as_seen_by(attendance, [what]))
        else:
            await attendance.member.tell(Member.refused, *what)

    async def _after(self, seq: int) -> list[Said]:
        """Return the messages after *seq*: from memory, or older ones from the file."""
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
        return sorted(attendance.name for attendance in self._members.values())

    def _people_changed(self) -> None:
        self._people_version += 1
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await anyio.to_thread.run_sync(work, *args, limiter=self._thread)


def _as_seen_by(attendance: _Attendance, batch: list[Said]) -> list[Said | Hidden]:
    return [said.as_seen_by(attendance.name) for said in batch]
