"""Turn messages of one link into frame bodies; a message that cannot be sent leaves nothing behind.

User values are walked before packing: what msgpack knows is not changed, the rest becomes tagged extensions,
and each class is introduced once, on the control lane. The result of a walk may contain the caller's
containers: pack it before they change.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Flag
from types import FunctionType
from typing import Any, Final

from actors.transport.attachments.attachments import AttachmentKind, Attachments
from actors.transport.attachments.move import Move
from actors.transport.errors import Unsendable, short_repr
from actors.transport.memory.buffer import Buffer
from actors.transport.memory.shared_array import SharedArray
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.types.adapters import Adapter
from actors.transport.types.class_name import BY_VALUE, check_findable, class_name
from actors.transport.types.class_schema import ClassSchema, adapter_for, keeper_of_state, schema_of
from actors.transport.types.exceptions import capture, text_of
from actors.transport.types.instances import plain_values_of, plan_of
from actors.transport.types.named_value import check_named, found_in_module, is_named, own_name
from actors.transport.types.numpy import is_array, is_scalar
from actors.transport.types.refusals import NOT_LOCAL, why_not
from actors.transport.types.registry import CUSTOM, Extra, Local
from actors.transport.types.scalars import SCALARS, Scalar
from actors.transport.types.tags import (
    INTRODUCE,
    MAX_DEPTH,
    MAX_EXTRAS,
    PLAIN,
    TOO_DEEP,
    ClassKind,
    Tag,
)
from actors.transport.types.twins import EncodeArgs, SimpleArgs, encoder_functions
from actors.transport.wire.batches import Batches
from actors.transport.wire.frames import FRAME_LIMIT, MESSAGE_LIMIT, Lane
from actors.transport.wire.msgpack import ext

__all__ = ["Encoder"]

_plain: Final = PLAIN.issuperset
"""Whether all of some types are leaves, at the speed of C."""

_Encode = Callable[[Any, int], Any]

_SCALARS: Final[dict[type, tuple[Any, Any]]] = {
    cls: (int(scalar.tag), scalar.write) for cls, scalar in SCALARS.items() if cls is not memoryview
}
"""What C code may encode from the beginning."""


def _no_rename(module: str, _named: Any) -> str:
    return module


def no_problem(_named: Any) -> str:
    """The `Encoder.main_problem` of a link to a peer that has the same `__main__`."""
    return ""


class Encoder:
    """The sending half of one link's codec.

    Args:
        extras: types only this link knows; the peer's decoder gets the same ones in the same order.
        rename: from the module of a class or function, and itself, to the one the peer knows it by.
        limit: largest message in bytes.
        attachments: what goes beside the frames; without them, everything is copied into the frames.
        refusable: the kinds of messages that are refused while too many big ones wait.
        envelope: bytes of a message that the limit does not count.

    Attributes:
        main_problem: why the peer cannot import a class or function of our `__main__`, or an empty text.
    """

    def __init__(
        self,
        *,
        extras: Sequence[Extra[Any]] = (),
        rename: Callable[[str, Any], str] = _no_rename,
        limit: int = MESSAGE_LIMIT,
        attachments: Attachments | None = None,
        refusable: frozenset[int] = frozenset(),
        envelope: int = 0,
    ) -> None:
        if len(extras) > MAX_EXTRAS:
            raise ValueError(f"a link has room for {MAX_EXTRAS} extra types, got {len(extras)}")
        self._rename = rename
        self.main_problem: Callable[[Any], str] = no_problem
        self._error_limit = min(limit, FRAME_LIMIT) // 2
        self.attachments: Attachments = attachments or Attachments.none()
        self._introduced: dict[Any, int] = {}
        self._functions: dict[FunctionType, int] = {}
        """The numbers of functions of modules, for as long as they are found there."""
        self.batches: Batches = Batches(limit, refusable, envelope)
        self.pack: Callable[..., int] = self.batches.pack
        """Add a message to the batch of its lane, see `Batches.pack`."""
        self._table = self._first_encodings(extras)
        self._known: dict[type, tuple[Any, Any]] = dict(_SCALARS)
        two = encoder_functions(self._known, self._encode_args, self._encode_value)
        self.encode_args: EncodeArgs = two[0]
        """As `_encode_args`, which it is if nothing was compiled."""
        self.simple_args: SimpleArgs | None = two[2]
        """Returns the fields for arguments that take no Python code, else None. Without C it is None."""
        self.encode_value: Callable[..., Any] = two[1]
        """As `_encode_value`, likewise."""

    def _first_encodings(self, extras: Sequence[Extra[Any]]) -> dict[type, _Encode]:
        """How values are encoded, by their class, before any class was introduced."""
        table: dict[type, _Encode] = {
            list: self._list,
            tuple: self._tuple,
            dict: self._dict,
            set: lambda value, depth: self._ext(Tag.SET, self._members(value, depth)),
            frozenset: lambda value, depth: self._ext(Tag.FROZENSET, self._members(value, depth)),
            deque: self._deque,
            Local: _refuse_local,
            **{cls: self._scalar(scalar) for cls, scalar in SCALARS.items()},
            bytes: self._bytes,
            bytearray: self._bytearray,
            memoryview: self._memoryview,
            Move: self._move,
            Buffer: lambda value, _: self._ext(
                Tag.ATTACHMENT, self.attachments.encode_buffer(value)
            ),
            SharedBuffer: lambda value, _: self._ext(
                Tag.ATTACHMENT, self.attachments.encode_shared(value)
            ),
            SharedArray: lambda value, _: self._ext(
                Tag.ATTACHMENT, self.attachments.encode_shared_array(value)
            ),
        }
        for index, extra in enumerate(extras):
            table[extra.cls] = self._extra(Tag.EXTRA + index, extra)
        return table

    def _encode_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any] | None]:
        """The arguments of one call, ready for `pack`; no keywords are None.

        Raises:
            Unsendable: its path starts with ``args[0]`` or the keyword.
            Moved, StillViewed: something in it cannot be moved; nothing was.
        """
        if kwargs:
            return self._encode_keywords(args, kwargs)
        packable: list[Any] = []
        table = self._table
        try:
            for value in args:
                kind = type(value)
                packable.append(
                    value
                    if kind in PLAIN
                    else (table.get(kind) or self._find(kind, value))(value, 1)
                )
        except BaseException as error:
            self.attachments.transaction.undo()
            at = len(packable)
            if isinstance(error, RecursionError):
                raise Unsendable(f"args[{at}]", args[at], TOO_DEEP) from error
            if isinstance(error, Unsendable):
                error.inside(f"args[{at}]")
            raise
        return packable, None

    def _encode_keywords(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        try:
            packable = [self._value(value, f"args[{index}]") for index, value in enumerate(args)]
            return packable, {name: self._value(value, name) for name, value in kwargs.items()}
        except BaseException:
            self.attachments.transaction.undo()
            raise

    def _encode_value(self, value: Any, root: str = "value") -> Any:
        """One value, ready for `pack`.

        Args:
            value: anything sendable.
            root: what the path in an error starts with.

        Raises:
            Unsendable: naming the path of what does not travel.
            Moved, StillViewed: something in it cannot be moved; nothing was.
        """
        if type(value) in PLAIN:
            return value
        try:
            return self._value(value, root)
        except BaseException:
            self.attachments.transaction.undo()
            raise

    def lane_for(self, message: list[Any]) -> int:
        """The lane that `message` would go in now, before anything that it needs is sent.

        Raises:
            TooBig: with the payloads that it lends, no message may be so big.
            NoRoom: too many big messages wait ahead of it.
        """
        size = len(self.batches.pack_one(message))
        self.batches.check_size(size + self.attachments.transaction.lent)
        return self.batches.bulk.lane(message, size)

    def _value(self, value: Any, root: str) -> Any:
        try:
            return self._walk(value, 0)
        except Unsendable as error:
            error.inside(root)
            raise
        except RecursionError as error:
            raise Unsendable(root, value, TOO_DEEP) from error

    def encode_error(self, error: BaseException) -> Any:
        """An exception, ready for `pack`; never raises.

        A part that does not travel becomes its repr; an exception that fills over half a frame, its text.
        """
        try:
            packable = self._error(error, 0, frozenset())
            if len(packable[1]) <= self._error_limit:
                return packable
        except Exception:  # noqa: BLE001, S110 - whatever a user's exception does when looked at, its text below gets through
            pass
        last, whole = text_of(error)
        room = max(self._error_limit // 8, 16)
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        return self._ext(Tag.EXCEPTION, [None, name[-room:], last[-room:], whole[-room:], b""])

    @property
    def pending(self) -> int:
        """Bytes packed and not taken yet, both lanes together."""
        return self.batches.pending

    def take(self, lane: Lane) -> list[bytes]:
        """The frame bodies packed for `lane` since the last call, in order."""
        if lane is Lane.BULK:
            return [body for _, body in self.batches.take_big()]
        return self.batches.take(lane)

    def _ext(self, tag: int, value: Any) -> Any:
        return ext((tag, self.batches.pack_one(value)))

    def _walk(self, value: Any, depth: int) -> Any:
        cls = type(value)
        if cls in PLAIN:
            return value
        if depth > MAX_DEPTH:
            raise Unsendable("", value, TOO_DEEP)
        encode = self._table.get(cls) or self._find(cls, value)
        return encode(value, depth + 1)

    def _walk_each(
        self, values: Iterable[Any], depth: int, path: str, names: Sequence[str] | None = None
    ) -> list[Any]:
        """Encode some values.

        Args:
            values: to be encoded.
            depth: of their container.
            path: added to the path of one that cannot be sent, with ``{}`` for its index or name.
            names: their names; None if they have none.
        """
        out: list[Any] = []
        try:
            for value in values:
                kind = type(value)
                # As in `_dict`.
                if kind in PLAIN or (
                    kind is list and _plain(map(type, value)) and depth < MAX_DEPTH
                ):
                    out.append(value)
                else:
                    out.append(self._walk(value, depth))
        except Unsendable as error:
            index = len(out)
            error.inside(path.format(index if names is None else names[index]))
            raise
        return out

    def _bytes(self, value: bytes, _depth: int) -> Any:
        if self.attachments.may_share(len(value), copied=True):
            lease = self.attachments.lease(value)
            if lease is not None:
                return self._ext(Tag.ATTACHMENT, [AttachmentKind.BYTES, *lease])
        return value

    def _bytearray(self, value: bytearray, _depth: int) -> Any:
        if self.attachments.may_share(len(value), copied=True):
            lease = self.attachments.lease(value)
            if lease is not None:
                return self._ext(Tag.ATTACHMENT, [AttachmentKind.BYTEARRAY, *lease])
        return ext((Tag.BYTEARRAY, bytes(value)))

    def _memoryview(self, value: memoryview, depth: int) -> Any:
        leased = self.attachments.encode_view(value)
        if leased is not None:
            return self._ext(Tag.ATTACHMENT, leased)
        return self._scalar(SCALARS[memoryview])(value, depth)

    def _move(self, mark: Move[Any], _depth: int) -> Any:
        written = self.attachments.encode_move(mark)
        # A moved bytearray that goes into the frame is one like any other.
        return (
            self._ext(Tag.ATTACHMENT, written) if written[0] else ext((Tag.BYTEARRAY, written[-1]))
        )

    def _array(self, value: Any, _depth: int) -> Any:
        return self._ext(Tag.ATTACHMENT, self.attachments.encode_array(value))

    def _numpy_scalar(self, value: Any, _depth: int) -> Any:
        return self._ext(Tag.ATTACHMENT, self.attachments.encode_scalar(value))

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        return value if _plain(map(type, value)) else self._walk_each(value, depth, "[{}]")

    def _tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        return self._ext(
            Tag.TUPLE, value if _plain(map(type, value)) else self._walk_each(value, depth, "[{}]")
        )

    def _deque(self, value: deque[Any], depth: int) -> Any:
        return self._ext(Tag.DEQUE, [value.maxlen, self._walk_each(value, depth, "[{}]")])

    def _scalar(self, scalar: Scalar) -> _Encode:
        return lambda value, _depth: self._ext(scalar.tag, scalar.write(value))

    def _members(self, values: Collection[Any], depth: int) -> list[Any]:
        if _plain(map(type, values)):
            return list(values)
        return self._walk_each(values, depth, "{{...}}")

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        out = value
        key = None
        try:
            for key, item in value.items():
                kind = type(item)
                # A list of leaves is the most frequent of the others: it takes no call of ours.
                if kind in PLAIN or (
                    kind is list and _plain(map(type, item)) and depth < MAX_DEPTH
                ):
                    continue
                packable = self._walk(item, depth)
                if packable is not item:
                    # The dict is copied only if a value has to be replaced.
                    out = value.copy() if out is value else out
                    out[key] = packable
        except Unsendable as error:
            error.inside(f"[{short_repr(key)}]")
            raise
        if _plain(map(type, value)):
            return out
        return self._ext(Tag.DICT, [self._members(value, depth), list(out.values())])

    def _state(self, state: Mapping[str, Any] | None, depth: int) -> dict[str, Any] | None:
        if state is None:
            return None
        names = tuple(state)
        values = self._walk_each(state.values(), depth, ".{}", names)
        return dict(zip(names, values, strict=True))

    def _find(self, cls: type, value: Any) -> _Encode:
        """The encoding of a class met for the first time on this link."""
        schema = schema_of(cls)
        encode: _Encode
        if is_array(value):
            encode = self._array
        elif is_scalar(value):
            encode = self._numpy_scalar
        elif schema is None:
            if not is_named(value):
                raise Unsendable("", value, why_not(value, keeper_of_state(cls)))
            encode = self._named
        elif schema.kind is ClassKind.EXCEPTION:
            encode = lambda error, depth: self._error(error, depth, frozenset())  # noqa: E731
        else:
            encode = {
                ClassKind.ENUM: self._enum,
                ClassKind.NAMEDTUPLE: self._named_tuple,
                ClassKind.PYDANTIC: self._model,
                ClassKind.CUSTOM: self._custom,
                ClassKind.ADAPTED: self._adapted,
                ClassKind.PICKLED: self._adapted,
            }.get(schema.kind, self._instance)(schema, self._introduce(schema, value))
        self._table[cls] = encode
        plan = plan_of(schema) if schema is not None else None
        if plan is not None:
            self._known[cls] = (plan, self._introduced[cls])
        return encode

    def _introduce(self, schema: ClassSchema, value: Any) -> int:
        """The number of a class on this link; at first, it is introduced on the control lane."""
        cls = schema.cls
        known = self._introduced.get(cls)
        if known is not None:
            return known
        name = class_name(cls, self._rename)
        if not name[0].startswith(BY_VALUE):
            check_findable(cls, value)
            self._check_main(name[0], cls, value)
        return self._introduce_as(cls, schema.kind, name, schema.checksums, schema.fields)

    def _introduce_named(self, value: Any) -> int:
        """The number of a class or function that is itself the value."""
        if type(value) is FunctionType:
            known = self._functions.get(value)
            if known is not None and found_in_module(value):
                return known
            known = self._introduce_by_name(value)
            if value.__module__ != "__main__":
                self._functions[value] = known
            return known
        return self._introduce_by_name(value)

    def _introduce_by_name(self, value: Any) -> int:
        if isinstance(value, type):
            key: tuple[Any, ...] = (value,)
            if key not in self._introduced:
                name = class_name(value, self._rename)
                if not name[0].startswith(BY_VALUE):
                    check_named(value)
                    self._check_main(name[0], value, value)
                return self._introduce_as(key, ClassKind.NAMED, name)
        else:
            key = self._typed_name(value) or own_name(value)
            if key not in self._introduced:
                module, qualname = key
                if not module.startswith(BY_VALUE):
                    self._check_main(module, value, value)
                    module = self._rename(module, value)
                return self._introduce_as(key, ClassKind.NAMED, [module, qualname])
        return self._introduced[key]

    def _typed_name(self, value: Any) -> tuple[str, str] | None:
        """The module and the name of a function that goes by value, looked at each time; None for others."""
        if getattr(value, "__module__", None) != "__main__" or not is_named(value):
            return None
        if ("__main__", value.__qualname__) in self._introduced:  # the peer imports this one
            return None
        module = self._rename("__main__", value)
        return (module, value.__qualname__) if module.startswith(BY_VALUE) else None

    def _check_main(self, module: str, named: Any, value: Any) -> None:
        problem = self.main_problem(named) if module == "__main__" else ""
        if problem:
            raise Unsendable(
                "", value, f"no other process can import {named.__qualname__}: {problem}"
            )

    def _introduce_as(
        self,
        key: Any,
        kind: ClassKind,
        name: list[Any],
        checksums: bytes = b"",
        fields: tuple[str, ...] = (),
    ) -> int:
        number = len(self._introduced)
        module, qualname, *parameters = name
        message = [INTRODUCE, number, kind, module, qualname, checksums, fields, *parameters]
        self.pack(message, Lane.CONTROL)
        # A frame is unpacked whole: what uses the class has to be in a later one.
        self.batches.seal()
        self._introduced[key] = number
        return number

    def _named(self, value: Any, _depth: int) -> Any:
        return self._ext(Tag.NAMED, self._introduce_named(value))

    def _instance(self, schema: ClassSchema, number: int) -> _Encode:
        def encode(value: Any, depth: int) -> Any:
            values = plain_values(value)
            if values is not None:
                return ext((Tag.INSTANCE, batches.pack_one((number, values, None))))
            values, extra = schema.state(value)
            if values is not None and not _plain(map(type, values)):
                values = tuple(self._walk_each(values, depth, ".{}", schema.fields))
            return self._ext(Tag.INSTANCE, [number, values, self._state(extra, depth)])

        plain_values, batches = plain_values_of(schema, PLAIN), self.batches
        return encode

    def _named_tuple(self, schema: ClassSchema, number: int) -> _Encode:
        def encode(value: Any, depth: int) -> Any:
            if len(value) != len(schema.fields):
                why = f"{schema.cls.__qualname__} has {len(schema.fields)} fields, this one {len(value)}"
                raise Unsendable("", value, why)
            plain = _plain(map(type, value))
            values = tuple(value) if plain else self._walk_each(value, depth, ".{}", schema.fields)
            parts: list[Any] = [number, values]
            attributes = getattr(value, "__dict__", None)
            if attributes:
                parts.append(self._state(attributes, depth))
            return self._ext(Tag.NAMEDTUPLE, parts)

        return encode

    def _enum(self, schema: ClassSchema, number: int) -> _Encode:
        composite = issubclass(schema.cls, Flag)

        def encode(value: Any, depth: int) -> Any:
            if composite:
                return self._ext(Tag.ENUM, [number, None, self._walk(value._value_, depth)])
            return self._ext(Tag.ENUM, [number, value._name_, None])

        return encode

    def _model(self, _schema: ClassSchema, number: int) -> _Encode:
        def encode(value: Any, depth: int) -> Any:
            parts = [
                self._state(getattr(value, part, None), depth)
                for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__")
            ]
            return self._ext(Tag.PYDANTIC, [number, *parts, list(value.__pydantic_fields_set__)])

        return encode

    def _custom(self, schema: ClassSchema, number: int) -> _Encode:
        codec = CUSTOM[schema.cls]
        return lambda value, depth: self._ext(
            Tag.CUSTOM, [number, self._walk(codec.encode(value), depth)]
        )

    def _adapted(self, schema: ClassSchema, number: int) -> _Encode:
        adapter = adapter_for(schema)
        return lambda value, depth: self._ext(
            Tag.ADAPTED, self._parts(adapter, number, value, depth)
        )

    def _parts(self, adapter: Adapter, number: int, value: Any, depth: int) -> list[Any]:
        parts = adapter.take_apart(value)
        out: list[Any] = []
        try:
            for part in parts:
                out.append(self._walk(part, depth))  # noqa: PERF401 - the length is the index of what failed
        except Unsendable as error:
            error.inside(adapter.path(value, len(out)))
            raise
        return [number, *out]

    def _extra(self, tag: int, extra: Extra[Any]) -> _Encode:
        return lambda value, depth: self._ext(tag, self._walk(extra.encode(value), depth))

    def _error(self, error: BaseException, depth: int, seen: frozenset[int]) -> Any:
        if depth > MAX_DEPTH:
            raise Unsendable("", error, TOO_DEEP)
        cls = type(error)
        schema = schema_of(cls)
        number = None
        if schema is not None and "<locals>" not in cls.__qualname__:
            number = self._introduce(schema, error)
        last, whole = text_of(error) if not seen else (text_of(error)[0], "")
        # A part that cannot be sent becomes its repr, so nothing may be prepared for it: copies only.
        with self.attachments.only_copies():
            parts = capture(
                error,
                lambda value: self._walk(value, depth + 1),
                lambda link, above: self._error(link, depth + 1, above),
                seen,
            )
        name = f"{cls.__module__}.{cls.__qualname__}"
        return self._ext(Tag.EXCEPTION, [number, name, last, whole, self.batches.pack_one(parts)])


def _refuse_local(value: Any, _depth: int) -> Any:
    raise Unsendable("", value, NOT_LOCAL)
