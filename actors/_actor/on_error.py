"""The class keyword `on_error=`: a table of what follows for the actor when a message fails.

Rule: the table is read only after an exception; a class without one costs its messages nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from actors._base.errors import InvalidSpec
from actors.transport import copy_error

__all__ = ["OnError", "another", "decide", "set_table"]

_TABLE: Final = "__actors_on_error__"


class OnError(enum.Enum):
    """What an exception of a message handler does to its actor; see `Actor`.

    Attributes:
        RESTART: the actor crashes, and its restart policy decides what follows.
        RESUME: the message is dropped and reported (``message_failed``); the actor goes on.
        STOP: the error is reported, and the actor ends by it for good; it is not restarted.
    """

    RESTART = "restart"
    RESUME = "resume"
    STOP = "stop"


_ALWAYS: Final[Mapping[type[BaseException], OnError]] = {MemoryError: OnError.RESUME}
"""Searched after the tables of the class: a message that needs too much memory fails, its actor continues."""


def set_table(cls: type, table: object) -> None:
    """Check the `on_error=` of a class and store it.

    Raises:
        InvalidSpec: naming the key or value that is not allowed.
    """
    where = f"{cls.__name__}: on_error"
    if not isinstance(table, Mapping):
        raise InvalidSpec(f"{where} maps exception classes to an OnError, got {table!r}")
    for kind, decision in table.items():
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise InvalidSpec(f"{where}: a key must be a subclass of Exception, got {kind!r}")
        if not isinstance(decision, OnError):
            raise InvalidSpec(f"{where}[{kind.__name__}] must be an OnError, got {decision!r}")
    setattr(cls, _TABLE, MappingProxyType(dict(table)))


def decide(cls: type, error: BaseException, *, asked: bool) -> OnError:
    """Return what *error* of a message handler does to an actor of *cls*.

    The entry nearest to the class of the error wins; among equals, that of the most derived actor
    class. Without an entry, an error that went to an asker changes nothing; any other restarts the actor.
    """
    tables: list[Mapping[Any, OnError]] = [
        vars(base)[_TABLE] for base in cls.__mro__ if _TABLE in vars(base)
    ]
    for kind in type(error).__mro__:
        for table in (*tables, _ALWAYS):
            if kind in table:
                return table[kind]
    return OnError.RESUME if asked else OnError.RESTART


def another(error: BaseException) -> BaseException:
    """Return a copy of *error*, for one more place where it is raised: each adds frames of its own."""
    return copy_error(error, _same)


def _same(part: Any) -> Any:
    return part
