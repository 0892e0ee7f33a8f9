"""Copy a value within one process, so that the receiver does not see later changes of the original.

The types are those that the wire carries. Immutable values go by reference, also inside containers: a tuple
of immutables is not copied. An object reachable twice is copied twice. A memoryview becomes a read-only view
of a copy.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from actors.transport.attachments.move import (
    CANNOT_LEAVE,
    Move,
    MovePhase,
    MovesFound,
    current_phase,
)
from actors.transport.errors import Unsendable, short_repr
from actors.transport.memory.buffer import Buffer
from actors.transport.memory.shared_array import SharedArray
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.types.class_name import check_findable
from actors.transport.types.class_schema import ClassSchema, adapter_for, keeper_of_state, schema_of
from actors.transport.types.exceptions import copy_error
from actors.transport.types.instances import builder_of, copier_of, plan_of
from actors.transport.types.named_value import check_named, is_named
from actors.transport.types.numpy import (
    array_layout,
    copy_scalar,
    in_one_piece,
    is_array,
    is_scalar,
    why_no_layout,
)
from actors.transport.types.refusals import NEEDS_CODEC, NOT_LOCAL, why_not
from actors.transport.types.registry import CUSTOM, OPAQUE, Local
from actors.transport.types.scalars import SCALARS, check_zone, copy_view
from actors.transport.types.tags import LEAVES, MAX_DEPTH, TOO_DEEP, ClassKind
from actors.transport.types.twins import (
    PlanKind,
    SnapshotArgs,
    all_leaves,
    copy_all,
    new_plan,
    plan_copies,
    snapshot_functions,
)
from actors.transport.wire.msgpack import EXT_TYPE

__all__ = [
    "snapshot",
    "snapshot_args",
    "snapshot_args_in_python",
    "snapshot_for_thread",
    "snapshot_in_python",
]

_Copier = Callable[[Any, int], Any]


def snapshot_in_python(value: Any, root: str = "value") -> Any:
    """A copy of `value` as it is now.

    Args:
        value: anything sendable.
        root: what the path in an error starts with.

    Raises:
        Unsendable: naming the path of what does not travel.
    """
    if type(value) in LEAVES:
        return value
    try:
        return _copy(value, 0)
    except MovesFound:
        return current_phase().check_then_move(partial(snapshot_in_python, value, root))
    except Unsendable as error:
        error.inside(root)
        raise
    except RecursionError as error:
        raise Unsendable(root, value, TOO_DEEP) from error


def snapshot_args_in_python(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Copies of the arguments of one call; paths start with ``args[0]`` or the keyword.

    Raises:
        Unsendable: naming the path of what does not travel.
        Moved, StillViewed: something in it cannot be moved; nothing was.
    """
    try:
        return (_copy_values(args), kwargs) if not kwargs else _copy_args(args, kwargs)
    except MovesFound:
        return current_phase().check_then_move(partial(_copy_args, args, kwargs))


def _copy_args(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    copied, name = kwargs.copy(), ""
    args = _copy_values(args)
    try:
        for name, value in kwargs.items():
            if type(value) not in LEAVES:
                copied[name] = _copy(value, 0)
    except Unsendable as error:
        error.inside(name)
        raise
    except RecursionError as error:
        raise Unsendable(name, kwargs, TOO_DEEP) from error
    return args, copied


def _copy_values(args: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in args:
        if type(value) not in LEAVES:
            break
    else:
        return args
    copied: list[Any] = []
    try:
        for value in args:
            kind = type(value)
            copied.append((_COPIERS.get(kind) or _make_copier(kind, value))(value, 1))
    except Unsendable as error:
        error.inside(f"args[{len(copied)}]")
        raise
    except RecursionError as error:
        raise Unsendable(f"args[{len(copied)}]", args, TOO_DEEP) from error
    return tuple(copied)


def snapshot_for_thread(values: Iterable[Any], phase: MovePhase) -> list[Any]:
    """Copies of some values that another thread of this process gets without a further copy.

    Args:
        values: to be copied.
        phase: `current_phase()` of this thread; a parameter because a lookup for each message is slow.

    Raises:
        Unsendable, RecursionError: the codec has to encode them, or raises the error for the user.
    """
    copied = copy_all(values)
    if copied is not None:
        return copied
    phase.for_thread = True
    out = list(values)
    try:
        for index, value in enumerate(out):
            if type(value) not in LEAVES:
                out[index] = _copy(value, 0)
    finally:
        phase.for_thread = False
    return out


def _copy(value: Any, depth: int) -> Any:
    cls = type(value)
    copier = _COPIERS.get(cls)
    if copier is None:
        if cls in LEAVES:
            return value
        copier = _make_copier(cls, value)
    if depth > MAX_DEPTH:
        raise Unsendable("", value, TOO_DEEP)
    return copier(value, depth + 1)


def _make_copier(cls: type, value: Any) -> _Copier:
    """The copier of a class met for the first time."""
    copier: _Copier
    schema = None if cls in OPAQUE else schema_of(cls)
    if cls in OPAQUE:
        copier = _needs_codec(_same)
    elif is_array(value):
        copier = _needs_codec(_array)
    elif is_scalar(value):
        copier = _scalar
    elif schema is None:
        if not is_named(value):
            raise Unsendable("", value, why_not(value, keeper_of_state(cls)))
        copier = _named
    else:
        if schema.kind is not ClassKind.EXCEPTION:
            check_findable(cls, value)
        copier = _MAKERS.get(schema.kind, _instance)(schema)
    _COPIERS[cls] = copier
    if schema is not None:
        plan_copies(cls, plan_of(schema))
    return copier


def _same(value: Any, _depth: int) -> Any:
    return value


def _named(value: Any, _depth: int) -> Any:
    check_named(value)
    return value


def _needs_codec(copier: _Copier) -> _Copier:
    """The copier of what belongs to a link or to memory: another thread gets it through the codec."""

    def copy(value: Any, depth: int) -> Any:
        if current_phase().for_thread:
            raise Unsendable("", value, NEEDS_CODEC)
        return copier(value, depth)

    return copy


def _copy_items(values: Iterable[Any], depth: int) -> list[Any]:
    out = list(values)
    index = 0
    try:
        for index, value in enumerate(out):
            if type(value) not in LEAVES:
                out[index] = _copy(value, depth)
    except Unsendable as error:
        error.inside(f"[{index}]")
        raise
    return out


def _copy_members(values: Iterable[Any], depth: int) -> list[Any]:
    """Copies of the members of a set, or of the keys of a dict."""
    out = []
    try:
        for value in values:
            out.append(_copy(value, depth))  # noqa: PERF401 - a comprehension is a call in Python 3.11
    except Unsendable as error:
        error.inside("{...}")
        raise
    return out


def _copy_fields(names: Iterable[str], values: Iterable[Any], depth: int) -> list[Any]:
    out = list(values)
    index = 0
    try:
        for index, value in enumerate(out):
            kind = type(value)
            if kind in LEAVES:
                continue
            if kind is list and all_leaves(value) and depth < MAX_DEPTH:  # as in `_dict`
                out[index] = value.copy()
            else:
                out[index] = _copy(value, depth)
    except Unsendable as error:
        error.inside(f".{tuple(names)[index]}")
        raise
    return out


def _copy_state(state: dict[str, Any], depth: int) -> dict[str, Any]:
    return dict(zip(state, _copy_fields(state, state.values(), depth), strict=True))


def _identical(copies: Iterable[Any], originals: Iterable[Any]) -> bool:
    return all(copy is original for copy, original in zip(copies, originals, strict=True))


def _list(value: list[Any], depth: int) -> list[Any]:
    if all_leaves(value):
        return value.copy()
    return _copy_items(value, depth)


def _tuple(value: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
    if all_leaves(value):
        return value
    copies = _copy_items(value, depth)
    return value if _identical(copies, value) else tuple(copies)


def _set(value: set[Any], depth: int) -> set[Any]:
    return value.copy() if all_leaves(value) else set(_copy_members(value, depth))


def _frozenset(value: frozenset[Any], depth: int) -> frozenset[Any]:
    if all_leaves(value):
        return value
    copies = _copy_members(value, depth)
    return value if _identical(copies, value) else frozenset(copies)


def _dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    if all_leaves(value):
        out = value.copy()
    else:
        out = dict(zip(_copy_members(value, depth), value.values(), strict=True))
    key = None
    try:
        for key, item in out.items():
            kind = type(item)
            if kind in LEAVES:
                continue
            # A list of leaves is the most frequent of the others: it takes no call of ours.
            if kind is list and all_leaves(item) and depth < MAX_DEPTH:
                out[key] = item.copy()
            else:
                out[key] = _copy(item, depth)
    except Unsendable as error:
        error.inside(f"[{short_repr(key)}]")
        raise
    return out


def _deque(value: deque[Any], depth: int) -> deque[Any]:
    return deque(_copy_items(value, depth), value.maxlen)


def _array(value: Any, _depth: int) -> Any:
    """A read-only copy, as an array from another process is."""
    if array_layout(value) is None:
        raise Unsendable("", value, why_no_layout(value))
    copied = in_one_piece(value)
    copied = copied.copy(order="K") if copied is value else copied
    copied.flags.writeable = False
    return copied


def _scalar(value: Any, _depth: int) -> Any:
    if not isinstance(value, str) and array_layout(value) is None:
        raise Unsendable("", value, why_no_layout(value))
    return copy_scalar(value)


def _buffer(value: Buffer, _depth: int) -> Buffer:
    copied = Buffer(len(value), zero=False)
    copied[:] = value.view()
    return copied


def _zoned(value: Any, _depth: int) -> Any:
    """Times are immutable if their zone is one of the standard library's."""
    check_zone(value.tzinfo, value)
    return value


def _zone(value: Any, _depth: int) -> Any:
    check_zone(value, value)
    return value


def _local(value: Local[Any], _depth: int) -> Any:
    if current_phase().leaves_process:
        raise Unsendable("", value, NOT_LOCAL)
    return value.value


def _shared(value: Any, _depth: int) -> Any:
    if current_phase().leaves_machine:
        raise Unsendable("", value, CANNOT_LEAVE)
    return value


def _instance(schema: ClassSchema) -> _Copier:
    """The copier of a class with fields, made once per class."""
    fields, by_reference = schema.fields, schema.immutable
    state, build = schema.state, builder_of(schema)

    def copy_values(value: Any, values: Sequence[Any], depth: int) -> Any:
        copies = _copy_fields(fields, values, depth)
        return value if by_reference and _identical(copies, values) else build(copies)

    def copy(value: Any, depth: int) -> Any:
        values, extra = state(value)
        if values is not None and extra is None:
            return copy_values(value, values, depth)
        copies = None if values is None else _copy_fields(fields, values, depth)
        return schema.rebuild(copies, None if extra is None else _copy_state(extra, depth))

    return copier_of(schema, copy_values, copy)


def _named_tuple(schema: ClassSchema) -> _Copier:
    def copy(value: Any, depth: int) -> Any:
        attributes = getattr(value, "__dict__", None)
        if not attributes and all_leaves(value):
            return value
        copies = _copy_fields(schema.fields, value, depth)
        if attributes:
            return schema.rebuild(copies, _copy_state(attributes, depth))
        return value if _identical(copies, tuple(value)) else schema.rebuild(copies, None)

    return copy


def _model(schema: ClassSchema) -> _Copier:
    """The copier of a pydantic model: its four parts, set as its own `model_construct` does."""

    def copy(value: Any, depth: int) -> Any:
        instance: Any = object.__new__(schema.cls)
        for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
            state = getattr(value, part, None)
            object.__setattr__(instance, part, None if state is None else _copy_state(state, depth))
        object.__setattr__(instance, "__pydantic_fields_set__", set(value.__pydantic_fields_set__))
        return instance

    return copy


def _custom(schema: ClassSchema) -> _Copier:
    codec = CUSTOM[schema.cls]

    def copy(value: Any, depth: int) -> Any:
        return codec.decode(_copy(codec.encode(value), depth))

    return copy


def _adapted(schema: ClassSchema) -> _Copier:
    take_apart, put_together, path, copy_whole = adapter_for(schema)
    if copy_whole is not None:
        return lambda value, _depth: copy_whole(value)

    def copy(value: Any, depth: int) -> Any:
        copies: list[Any] = []
        parts = take_apart(value)
        try:
            for part in parts:
                copies.append(_copy(part, depth))  # noqa: PERF401 - the length is the index of what failed
        except Unsendable as error:
            error.inside(path(value, len(copies)))
            raise
        return put_together(*copies)

    return copy


def _error(_schema_for: ClassSchema) -> _Copier:
    def copy(value: Any, depth: int) -> Any:
        return copy_error(value, lambda part: _copy(part, depth))

    return copy


_MAKERS: Final[dict[ClassKind, Callable[[ClassSchema], _Copier]]] = {
    ClassKind.NAMEDTUPLE: _named_tuple,
    ClassKind.PYDANTIC: lambda schema: _needs_codec(_model(schema)),
    ClassKind.ENUM: lambda _schema: _same,
    ClassKind.EXCEPTION: lambda schema: _needs_codec(_error(schema)),
    ClassKind.CUSTOM: lambda schema: _needs_codec(_custom(schema)),
    ClassKind.ADAPTED: _adapted,
    ClassKind.PICKLED: lambda schema: _needs_codec(_adapted(schema)),
}

_COPIERS: Final[dict[type, _Copier]] = {
    **dict.fromkeys((*LEAVES, *SCALARS), _same),
    dt.datetime: _zoned,
    dt.time: _zoned,
    ZoneInfo: _zone,
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _frozenset,
    dict: _dict,
    deque: _deque,
    bytearray: _needs_codec(lambda value, _depth: bytearray(value)),
    memoryview: _needs_codec(lambda view, _depth: copy_view(view)),
    Local: _needs_codec(_local),
    Move: _needs_codec(lambda mark, _depth: current_phase().move(mark)),
    Buffer: _needs_codec(_buffer),
    SharedArray: _needs_codec(_shared),
    SharedBuffer: _needs_codec(_shared),
}

for _cls in SCALARS.keys() - {ZoneInfo, memoryview}:
    _kind = PlanKind.ZONED if _cls in (dt.datetime, dt.time) else PlanKind.SAME
    plan_copies(_cls, new_plan(_kind, _cls))

_two = snapshot_functions(snapshot_in_python, snapshot_args_in_python, EXT_TYPE)

snapshot: Final[Callable[..., Any]] = _two[0]
"""`snapshot_in_python`, or its twin."""

snapshot_args: Final[SnapshotArgs] = _two[1]
"""`snapshot_args_in_python`, or its twin."""
