"""What was said, in a SQLite file: numbered per room without gaps, each client message once.

Rule 1: a call that returned has been written: it outlives `kill -9` of this process.
Rule 2: every call may block on the disk, so call from a thread, never from an event loop; one call
at a time per store, from any thread. Several processes may have the same file open.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from os import PathLike, fspath
from types import TracebackType
from typing import Final, Self, TypeAlias

# Seconds to wait for another process that is writing. A killed writer's lock is gone at once.
_BUSY: Final = 10.0

# NORMAL: a commit is in the kernel's hands, which is enough to survive any end of this process. A
# power cut may take the last commits (not the file): FULL would wait for the disk on every message.
_SETTINGS: Final = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL")

# An `id` may be NULL, and NULLs are all different: a message without one is always new. `to` is
# NULL for what everybody may read.
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
        """Return what *name* gets of it: a private message is for its two people only."""
        return self if self.to is None or name in (self.to, self.name) else Hidden(self.seq)


@dataclass(frozen=True, slots=True)
class Hidden:
    """The place of a message that is for others."""

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
        """Close the file. Closing twice is nothing."""
        database, self._open = self._open, None
        if database is not None:
            database.close()

    def __del__(self) -> None:
        self.close()  # whoever was killed while it held this could not

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
        id: str | None,  # noqa: A002 - the word of the chat's protocol
        name: str,
        text: str,
        to: str | None = None,
    ) -> tuple[Said, bool]:
        """Write a message down once.

        Args:
            room: Where it was said.
            id: The client's own name for the message; sending it again changes nothing.
            name: Who said it.
            text: What was said.
            to: The one person it is for, besides who said it; None for everybody.

        Returns:
            The message as it stands in the history, and whether this call put it there.

        Raises:
            sqlite3.Error: It could not be written; nothing has changed.
            UnicodeEncodeError: Half a surrogate pair, which is no text; nothing has changed.
        """
        with self._writing() as database:
            if id is not None and (earlier := self._by_id(room, id)) is not None:
                return earlier, False
            said = Said(self.last_seq(room) + 1, id, name, text, self._now(), to)
            database.execute(
                f"INSERT INTO said (room, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own words
                (room, *astuple(said)),
            )
        return said, True

    def last_seq(self, room: str) -> int:
        """Return the number of the last message of *room*, 0 when nothing was said yet."""
        row: tuple[int] = self._database.execute(
            "SELECT coalesce(max(seq), 0) FROM said WHERE room = ?", (room,)
        ).fetchone()
        return row[0]

    def after(self, room: str, seq: int, limit: int) -> list[Said]:
        """Return at most *limit* messages that follow *seq*, oldest first."""
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
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file's only write lock: what is read inside is still true when it is written."""
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
            f"SELECT {_COLUMNS} FROM said WHERE {where}",  # noqa: S608 - our own words
            values,
        )
        return [Said(*row) for row in rows]


def _add_private(database: sqlite3.Connection) -> None:
    """Make a file from before there were private messages like any other."""
    has = "SELECT 1 FROM pragma_table_info('said') WHERE name = 'to'"
    if database.execute(has).fetchone():
        return
    database.execute("BEGIN IMMEDIATE")
    if not database.execute(has).fetchone():  # another process may have been faster
        database.execute('ALTER TABLE said ADD COLUMN "to" TEXT')
    database.execute("COMMIT")
