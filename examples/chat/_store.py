"""Stores messages in a SQLite file: numbered in each room without gaps, each client message once.

Rule 1: what a call has written when it returns survives `kill -9` of this process.
Rule 2: every call may block on the disk, so call from a thread, never from an event loop; one call
at a time for each store, from any thread. Several processes may have the same file open.
"""

import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from os import PathLike, fspath
from types import TracebackType
from typing import Final, Self, TypeAlias

# Seconds to wait for another process that is writing. A killed writer's lock is gone at once.
_BUSY: Final = 10.0

# NORMAL: a commit is written to the kernel, so it survives any end of this process. A power cut may
# lose the last commits, but does not damage the file; FULL would wait for the disk on every message.
_SETTINGS: Final = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL")

# NULLs are distinct in a UNIQUE constraint: a message without `id` is always new. `to` is NULL for
# messages to everybody.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS said (
    room TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    at REAL NOT NULL,
    "to" TEXT,
    PRIMARY KEY (room, seq),
    UNIQUE (room, id)
) WITHOUT ROWID
"""

_COLUMNS: Final = 'seq, id, name, text, at, "to"'
_Row: TypeAlias = tuple[int, str | None, str, str, float, str | None]


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a room. `seq` counts from 1; `at` is seconds since the epoch."""

    seq: int
    id: str | None
    name: str
    text: str
    at: float
    to: str | None = None

    def as_seen_by(self, name: str) -> "Said | Hidden":
        """Return this message, or `Hidden` if it is private and *name* is neither of the two people."""
        return self if self.to is None or name in (self.to, self.name) else Hidden(self.seq)


@dataclass(frozen=True, slots=True)
class Hidden:
    """The number of a private message of others."""

    seq: int


class Store:
    """The history of every room in one file."""

    def __init__(self, path: str | PathLike[str], *, now: Callable[[], float] = time.time) -> None:
        self._open: sqlite3.Connection | None = None
        self.path: Final = fspath(path)
        self._now = now

    def open(self) -> Self:
        """Open the file, making it and its table when new, and return this store.

        Raises:
            sqlite3.Error: The file cannot be opened, or is something else.
        """
        if self._open is not None:
            raise RuntimeError(f"{self.path} is already open")
        # Transactions begin where the code says so (`isolation_level=None`). Threads may differ
        # from call to call, because the caller's pool picks them; see rule 2.
        database = sqlite3.connect(
            self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            for statement in (*_SETTINGS, _SCHEMA):
                database.execute(statement)
            _add_private(database)
        except BaseException:
            database.close()
            raise
        self._open = database
        return self

    def close(self) -> None:
        """Close the file, if it is open."""
        database, self._open = self._open, None
        if database is not None:
            database.close()

    def __del__(self) -> None:
        self.close()  # a killed actor has not called it

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def append(
        self,
        room: str,
        id: str | None,  # noqa: A002 - the protocol's word
        name: str,
        text: str,
        to: str | None = None,
    ) -> tuple[Said, bool]:
        """Store a message, unless *room* has one with this *id* already.

        Args:
            room: The room it was said in.
            id: The client's identifier of the message, if it has one.
            name: The name of the sender.
            text: The text.
            to: The name of the recipient; None for everybody.

        Returns:
            The stored message, and whether this call stored it.

        Raises:
            sqlite3.Error: It could not be written; nothing has changed.
            UnicodeEncodeError: The text has an unpaired surrogate; nothing has changed.
        """
        with self._writing() as database:
            if id is not None and (earlier := self._by_id(room, id)) is not None:
                return earlier, False
            said = Said(self.last_seq(room) + 1, id, name, text, self._now(), to)
            database.execute(
                f"INSERT INTO said (room, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - only constants are inserted
                (room, *astuple(said)),
            )
        return said, True

    def last_seq(self, room: str) -> int:
        """Return the number of the last message of *room*, 0 if it has none."""
        row: tuple[int] = self._database.execute(
            "SELECT coalesce(max(seq), 0) FROM said WHERE room = ?", (room,)
        ).fetchone()
        return row[0]

    def after(self, room: str, seq: int, limit: int) -> list[Said]:
        """Return at most *limit* messages after *seq*, oldest first."""
        return self._select("room = ? AND seq > ? ORDER BY seq LIMIT ?", room, seq, limit)

    def last(self, room: str, n: int) -> list[Said]:
        """Return the last *n* messages, oldest first."""
        return self._select("room = ? ORDER BY seq DESC LIMIT ?", room, n)[::-1]

    @property
    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            raise RuntimeError(f"{self.path} is not open: call open() first")
        return self._open

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Hold the write lock of the file, so that nothing changes between reading and writing in the block."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # a full disk has rolled back by itself
                database.execute("ROLLBACK")
            raise

    def _by_id(self, room: str, id_: str) -> Said | None:
        found = self._select("room = ? AND id = ?", room, id_)
        return found[0] if found else None

    def _select(self, where: str, *values: str | int) -> list[Said]:
        rows: Iterator[_Row] = self._database.execute(
            f"SELECT {_COLUMNS} FROM said WHERE {where}",  # noqa: S608 - only constants are inserted
            values,
        )
        return [Said(*row) for row in rows]


def _add_private(database: sqlite3.Connection) -> None:
    """Add the column for private messages to a file that an earlier version has made."""
    has = "SELECT 1 FROM pragma_table_info('said') WHERE name = 'to'"
    if database.execute(has).fetchone():
        return
    database.execute("BEGIN IMMEDIATE")
    if not database.execute(has).fetchone():  # another process may have added it
        database.execute('ALTER TABLE said ADD COLUMN "to" TEXT')
    database.execute("COMMIT")
