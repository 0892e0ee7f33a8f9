"""What every process knows of an address book: it travels with the book's address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["KeyedFacts"]


@dataclass(frozen=True, slots=True)
class KeyedFacts:
    """The fixed properties of one address book.

    Attributes:
        number: its number in its system; never used again.
        name: its name.
        cls_path: the class of its actors as "module:qualname".
        mailbox: that of each of them, packed.
    """

    number: int
    name: str
    cls_path: str
    mailbox: int | list[Any]
