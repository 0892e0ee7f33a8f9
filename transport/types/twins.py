"""Functions that have a twin in C, `_speedups.c`: which of the two runs is decided here, at import.

The Python functions are the reference. Those in C do the common case and leave all else to them, so that a
special case, and an error, is written once. Nothing else knows which of the two it has.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, Final, TypeAlias

from actors._extensions import load
from actors.transport.types.tags import LEAVES

__all__ = [
    "COMPILED",
    "EncodeArgs",
    "Plan",
    "PlanKind",
    "SimpleArgs",
    "SnapshotArgs",
    "all_leaves",
    "all_leaves_in_python",
    "bind",
    "copy_all",
    "copy_args",
    "encoder_functions",
    "frame_reader",
    "message_packer",
    "new_plan",
    "packed_bytes",
    "plan_copies",
    "snapshot_functions",
]

COMPILED: Final[Any] = load("actors.transport._speedups")
"""The module of C functions, or None."""

_FROM: Final = 4096
"""Bytes of a binary that is left to the encoder in Python, which may send it beside the frame."""

Plan: TypeAlias = Any
"""What C code knows of a class; an object of C."""

_Args: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
SnapshotArgs: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], _Args]
EncodeArgs: TypeAlias = Callable[
    [tuple[Any, ...], dict[str, Any]], tuple[Sequence[Any], dict[str, Any] | None]
]
SimpleArgs: TypeAlias = Callable[[tuple[Any, ...]], Sequence[Any] | None]
_Read = Callable[[Any], tuple[list[Any], bool]]


class PlanKind(IntEnum):
    """What is known of the instances of a class."""

    SAME = 0
    """They are immutable."""
    ZONED = 1
    """They are immutable if their zone is None or a `datetime.timezone`."""
    FIELDS = 2
    """They are those of a dataclass or an attrs class, and have their fields and nothing else."""
    NAMEDTUPLE = 3
    ENUM = 4
    """Each has a name, by which it is sent."""


def all_leaves_in_python(values: Iterable[Any]) -> bool:
    """Whether the type of each of some values is in `LEAVES`."""
    return LEAVES.issuperset(map(type, values))


def _never(_values: Iterable[Any]) -> None:
    """The twin of `copy_all`."""


all_leaves: Final[Callable[[Iterable[Any]], bool]] = (
    COMPILED.all_leaves if COMPILED else all_leaves_in_python
)
"""`all_leaves_in_python`, or its twin."""

copy_all: Final[Callable[[Iterable[Any]], list[Any] | None]] = (
    COMPILED.copy_all if COMPILED else _never
)
"""A list of copies of some values; None if that takes Python code."""


copy_args: Final[SimpleArgs | None] = COMPILED.copy_args if COMPILED else None
"""Copies of the arguments of a message for another thread, or None: that takes Python code."""


def bind(*classes: type, **objects: Any) -> None:
    """Tell C code where the slots of some classes are, and what else it uses, by its name there."""
    if COMPILED is not None:
        COMPILED.bind(*classes, **objects)


def new_plan(
    kind: PlanKind,
    cls: type,
    fields: tuple[str, ...] = (),
    slots: tuple[Any, ...] | None = None,
    *,
    immutable: bool = False,
) -> Plan | None:
    """What C code has to know of a class, or None: its instances need Python code.

    Args:
        kind: what they are.
        cls: the class.
        fields: names of their fields, in order.
        slots: the descriptors of these; None if they are in the attributes.
        immutable: whether an instance needs no copy if its fields need none.
    """
    if COMPILED is None:
        return None
    try:
        return COMPILED.Plan(kind, cls, fields, slots, immutable)
    except TypeError:
        return None


def plan_copies(cls: type, plan: Plan | None) -> None:
    """Let C code copy instances of a class from now on."""
    if plan is not None:
        COMPILED.plans[cls] = plan


def snapshot_functions(
    snapshot: Callable[..., Any], snapshot_args: SnapshotArgs, ext_type: type
) -> tuple[Callable[..., Any], SnapshotArgs]:
    """`snapshot` and `snapshot_args`, or their twins.

    Args:
        snapshot: the function in Python.
        snapshot_args: likewise.
        ext_type: msgpack's extension values, which `message_packer` packs.
    """
    if COMPILED is None:
        return snapshot, snapshot_args
    COMPILED.prepare(snapshot, snapshot_args, dt.timezone, ext_type)
    return COMPILED.snapshot, COMPILED.snapshot_args


def encoder_functions(
    known: dict[type, tuple[Any, Any]],
    encode_args: EncodeArgs,
    encode_value: Callable[..., Any],
) -> tuple[EncodeArgs, Callable[..., Any], SimpleArgs | None]:
    """`encode_args` and `encode_value` of an encoder, or their twins, and its `simple_args`.

    Args:
        known: by class, what C code may encode: its plan and its number on this link, or a tag and what makes
            plain data of an instance. It grows as the encoder meets classes.
        encode_args: the function in Python.
        encode_value: likewise.
    """
    if COMPILED is None:
        return encode_args, encode_value, None
    packer = COMPILED.Packer(known, _FROM, encode_args, encode_value)
    return packer.encode_args, packer.encode_value, packer.simple_args


def message_packer(pack: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """A packer of messages, or its twin."""
    return partial(COMPILED.pack, pack) if COMPILED else pack


def packed_bytes(field: Any) -> bytes | None:
    """The bytes of a field that `encoder_functions` has packed; None for any other."""
    if COMPILED is None or type(field) is not COMPILED.PackedValue:
        return None
    return bytes(field)


def frame_reader(
    hook: Callable[[int, bytes], Any],
    read: _Read,
    known: dict[int, Any],
    readers: dict[Any, Callable[[Any], Any]],
    limit: int,
    batch: int,
) -> _Read:
    """`read`, which returns the messages of a frame body and whether all are in form, or its twin.

    Args:
        hook: called with tag and data of an extension that C code does not read.
        read: the function in Python.
        known: by number, the classes of this link that C code may rebuild: a plan, or the members of an enum.
        readers: by tag, what makes a scalar of plain data.
        limit: bytes of a body.
        batch: bytes of a body above which it is one message.
    """
    if COMPILED is None:
        return read
    plain = {int(tag): reader for tag, reader in readers.items()}
    reader: _Read = COMPILED.Unpacker(hook, read, plain, known, limit, batch).unpack
    return reader
