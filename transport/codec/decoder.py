"""Turn frame bodies of one link into messages.

A value that cannot be rebuilt arrives as `Undecoded` in its place in the message. Bytes that break the
protocol end the link.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from operator import itemgetter
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

from actors.transport.attachments.attachments import Attachments
from actors.transport.errors import (
    FrameError,
    TransportError,
    Undecodable,
    Unsendable,
    VersionSkew,
    short_repr,
)
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.types.class_name import find_named, named_class
from actors.transport.types.class_schema import ClassSchema, adapter_for, check_schema, schema_of
from actors.transport.types.exceptions import ErrorParts, RemoteError, attach_text, rebuild_error
from actors.transport.types.instances import builder_of, plan_of
from actors.transport.types.named_value import check_named, is_named
from actors.transport.types.registry import CUSTOM, Extra
from actors.transport.types.scalars import READERS
from actors.transport.types.tags import INTRODUCE, MAX_DEPTH, TOO_DEEP, ClassKind, Tag
from actors.transport.types.twins import frame_reader
from actors.transport.wire.batches import BATCH_LIMIT
from actors.transport.wire.frames import MESSAGE_LIMIT
from actors.transport.wire.msgpack import UNPACK_ERRORS, new_unpacker, unpack_one

__all__ = ["Decoder", "Undecoded"]

_MAX_CLASSES: Final = 65_536
_DIRECT: Final = 8
_NIL: Final = b"\xc0"
_NOT_REGISTERED: Final = (
    "is registered by the sender and not here; call register() where the class is defined, "
    "outside of any main guard"
)
_INTRODUCTION: Final = 7
"""Fields of an introduction; the parameters of the class may follow."""
_LEAVES: Final = frozenset({*READERS, Tag.BYTEARRAY, Tag.BIG_INT, Tag.EXCEPTION})
"""Tags of what holds no attachments."""
_LIST: Final = frozenset({list})
_INT: Final = frozenset({int})
_kind: Final = itemgetter(0)


_CUT: Final = "it ends inside a message"
_NO_MESSAGE: Final = "a message is not a list that starts with its kind"


class Undecoded:
    """Stands in a message for a payload that could not be rebuilt.

    Attributes:
        error: why, an `Undecodable`.
    """

    __slots__ = ("error",)

    def __init__(self, error: Undecodable) -> None:
        self.error: Undecodable = error

    def __repr__(self) -> str:
        return f"<Undecoded: {self.error}>"


class _IntroducedClass(NamedTuple):
    kind: int
    module: str
    qualname: str
    checksums: bytes
    fields: list[str]
    parameters: list[Any] | None = None


def _nothing(*_ext: object) -> None:
    """The value of an extension that nobody needs."""


def _scalar(read: Callable[[Any], Any]) -> Callable[[Any, bytes], Any]:
    return lambda self, data: read(self._unpack(data))


class Decoder:
    """The receiving half of one link's codec.

    Args:
        extras: types only this link knows, in the order of the peer's encoder.
        resolve: from module and qualname to a class or function; it may import, and may raise anything.
        limit: largest message in bytes.
        attachments: what comes beside the frames; the same object as the encoder's.
    """

    def __init__(
        self,
        *,
        extras: Sequence[Extra[Any]] = (),
        resolve: Callable[[str, str], Any] = find_named,
        limit: int = MESSAGE_LIMIT,
        attachments: Attachments | None = None,
    ) -> None:
        self._attachments = attachments or Attachments.none()
        self._extras = tuple(extras)
        self._resolve = resolve
        self._limit = limit
        self._introduced: list[_IntroducedClass] = []
        self._schemas: dict[int, ClassSchema] = {}
        self._builders: dict[int, Callable[[Any], Any]] = {}
        self._named: dict[int, Any] = {}
        self._unpackers: dict[int, Any] = {}
        self._depth = 0
        self._failures = 0
        self._broken: Exception | None = None
        self._fatal: FrameError | None = None
        self._unpacker = new_unpacker(limit, self._decode_outer)
        self._known: dict[int, Any] = {}
        self._read = frame_reader(
            self._decode_outer, self._unpack_body, self._known, READERS, limit, BATCH_LIMIT
        )

    def restart(self, kept: list[SharedBuffer] | None = None) -> None:
        """Forget what the encoder introduced: the next frame is the first one of another encoder.

        Args:
            kept: the shared buffers that this one kept, see `Attachments.kept`.
        """
        self._attachments.kept = kept
        self._introduced.clear()
        self._schemas.clear()
        self._builders.clear()
        self._known.clear()
        self._named.clear()

    def feed(self, body: bytes | bytearray | memoryview) -> list[Any]:
        """The messages of one frame, without the introductions, which are handled here.

        Args:
            body: a whole frame body.

        Returns:
            lists that start with a number from 1; what could not be rebuilt is `Undecoded`.

        Raises:
            FrameError: not a batch of messages; the link must end.
        """
        failures = self._failures
        try:
            messages, in_form = self._read(body)
        except UNPACK_ERRORS as error:
            self._unpacker = new_unpacker(self._limit, self._decode_outer)
            raise FrameError(
                f"a frame holds bytes that are not messages: {type(error).__name__} {error}"
            ) from error
        if self._fatal is not None:
            fatal, self._fatal = self._fatal, None
            raise fatal
        if in_form and self._failures == failures:
            return messages
        return self._checked(messages, damaged=self._failures != failures)

    def _unpack_body(self, body: bytes | bytearray | memoryview) -> tuple[list[Any], bool]:
        """The messages of a frame body, and whether all of them are known to be in form."""
        if len(body) > BATCH_LIMIT:  # a frame this big holds one message
            return [unpack_one(memoryview(body), self._limit, self._decode_outer)], False
        unpacker = self._unpacker
        try:
            unpacker.feed(body)
            messages = list(unpacker)
            # One more value is fed after the messages: it comes out only if the last one was whole.
            unpacker.feed(_NIL)
            if unpacker.unpack() is not None:
                raise ValueError(_CUT)
        except UNPACK_ERRORS:
            # The garbage collector does not see half-built values; this traceback would keep them alive.
            del unpacker
            raise
        if len(messages) != 1 or type(messages[0]) is not list or not messages[0]:
            return messages, False
        kind = messages[0][0]  # that of a frame's only message is looked at here
        return messages, type(kind) is int and kind > 0

    def _checked(self, messages: list[Any], *, damaged: bool) -> list[Any]:
        # The types first: other objects that a peer sends may do anything when they are indexed.
        if not (_LIST.issuperset(map(type, messages)) and all(messages)):
            raise FrameError(_NO_MESSAGE)
        kinds = list(map(_kind, messages))
        if not _INT.issuperset(map(type, kinds)) or min(kinds, default=INTRODUCE) < INTRODUCE:
            raise FrameError(_NO_MESSAGE)
        if damaged:
            messages = [[_first_undecoded(field) for field in message] for message in messages]
        if INTRODUCE in kinds:
            for message in messages:
                if message[0] == INTRODUCE:
                    self._introduce(message)
            messages = [message for message in messages if message[0] != INTRODUCE]
        return messages

    def _introduce(self, message: list[Any]) -> None:
        """Store the introduction of a class; the class is looked up when first used."""
        types = [type(field) for field in message]
        whole = types[:_INTRODUCTION] == [int, int, int, str, str, bytes, list]
        fits = whole and types[_INTRODUCTION:] in ([], [list])
        if not fits or not {str}.issuperset(map(type, message[_INTRODUCTION - 1])):
            raise FrameError(
                f"an introduction has the wrong parts: {[kind.__name__ for kind in types]}"
            )
        number = message[1]
        if number != len(self._introduced) or number >= _MAX_CLASSES:
            raise FrameError(
                f"class number {number} introduced out of order, expected {len(self._introduced)}"
            )
        self._introduced.append(_IntroducedClass(*message[2:]))

    def _schema_for(self, number: Any, *kinds: ClassKind) -> ClassSchema:
        """Our side of the class with that number."""
        schema = self._schemas.get(number) if type(number) is int else None
        if schema is None:
            schema = self._look_up(number)
            self._schemas[number] = schema
        if schema.kind not in kinds:
            raise Undecodable(
                f"{schema.cls.__qualname__} is not a {' or '.join(kind.name for kind in kinds)}"
            )
        return schema

    def _look_up(self, number: Any) -> ClassSchema:
        known, cls = self._find_introduced(number)
        schema = schema_of(cls) if isinstance(cls, type) else None
        if schema is None or known.kind == ClassKind.NAMED:
            custom = known.kind in (ClassKind.CUSTOM, ClassKind.PICKLED)
            why = _NOT_REGISTERED if custom else "is not a sendable class here"
            raise Undecodable(f"{known.module}.{known.qualname} {why}")
        check_schema(schema, known.kind, known.checksums, known.fields)
        return schema

    def _find_introduced(self, number: Any) -> tuple[_IntroducedClass, Any]:
        """What the peer introduced with that number, and what has that name here."""
        if type(number) is not int or not 0 <= number < len(self._introduced):
            raise Undecodable(f"class number {short_repr(number)} was never introduced")
        known = self._introduced[number]
        try:
            name = [known.module, known.qualname, known.parameters or []]
            return known, named_class(name, self._resolve)
        except Exception as error:
            raise Undecodable(f"cannot find {known.module}.{known.qualname}: {error}") from error

    def _decode_outer(self, tag: int, data: bytes) -> Any:
        """The hook of the frame's own unpacker; raising in it would lose the place in the frame."""
        decode = self._decoders.get(tag)
        try:
            # Most values are whole, and need no more than this.
            return decode(self, data) if decode is not None else self._decode_extra(tag, data)
        except Exception as failure:  # noqa: BLE001 - constructors of users' types run in there
            error = self._broken or failure  # a lie in what was dropped goes first
        self._broken = None
        self._depth = 0
        if isinstance(error, FrameError):
            self._fatal = error  # the peer broke the rules of attachments: the link ends
            return None
        self._failures += 1
        return Undecoded(_undecodable(error))

    def _raise_broken(self) -> None:
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    def _decode_nested(self, tag: int, data: bytes) -> Any:
        """The hook of the inner unpackers; raising in it would lose what they have built so far."""
        if self._broken is not None:
            self._drop(tag, data)
            return None
        try:
            if self._depth >= MAX_DEPTH + 2:
                raise Undecodable(TOO_DEEP)  # noqa: TRY301 - handled below like any other
            decode = self._decoders.get(tag)
            return decode(self, data) if decode is not None else self._decode_extra(tag, data)
        except Exception as error:  # noqa: BLE001 - constructors of users' types run in there
            if self._broken is None:  # a lie in what was dropped goes first
                self._broken = error
            return None

    def _decode_extra(self, tag: int, data: bytes) -> Any:
        if Tag.EXTRA <= tag < Tag.EXTRA + len(self._extras):
            return self._extras[tag - Tag.EXTRA].decode(self._unpack(data))
        self._drop(tag, data)
        raise Undecodable(f"unknown tag {tag}")

    def _drop(self, tag: int, data: bytes) -> None:
        """Give back the memory of the attachments of a value that cannot be rebuilt."""
        level = [(tag, data)]
        depth = self._depth
        while level and depth < MAX_DEPTH:
            inner: list[tuple[int, bytes]] = []
            for kind, packed in level:
                self._drop_one(kind, packed, inner)
            level, depth = inner, depth + 1

    def _drop_one(self, tag: int, data: bytes, inner: list[tuple[int, bytes]]) -> None:
        try:
            if tag == Tag.ATTACHMENT:
                self._attachments.give_back(unpack_one(data, self._limit, _nothing))
            elif tag not in _LEAVES:
                unpack_one(data, self._limit, lambda *nested: inner.append(nested))
        except FrameError as error:
            self._broken = error
        except Exception:  # noqa: BLE001, S110 - the whole value has failed already, by the first error
            pass

    def _unpack(self, data: bytes) -> Any:
        """The one value packed in `data`; each depth has its own unpacker, which holds its own stack."""
        depth = self._depth
        if len(data) > BATCH_LIMIT and depth < _DIRECT:
            return self._unpack_large(data, depth)
        unpacker = self._unpackers.get(depth)
        if unpacker is None:
            unpacker = self._unpackers[depth] = new_unpacker(self._limit, self._decode_nested)
        self._depth = depth + 1
        try:
            start = unpacker.tell()
            unpacker.feed(data)
            value = unpacker.unpack()
            rest = len(data) - (unpacker.tell() - start)
        except Exception:
            del self._unpackers[depth]
            self._broken = None
            raise
        finally:
            self._depth = depth
        if rest:
            del self._unpackers[depth]  # it would begin the next value with them
        if self._broken is not None:
            self._raise_broken()
        if rest:
            raise Undecodable(f"a value is followed by {rest} other bytes")
        return value

    def _unpack_large(self, data: bytes, depth: int) -> Any:
        self._depth = depth + 1
        try:
            value = unpack_one(data, self._limit, self._decode_nested)
            self._raise_broken()
            return value
        finally:
            self._depth = depth

    def _parts(self, data: bytes, *types: type | tuple[type, ...]) -> list[Any]:
        """The list packed in `data`, its elements checked."""
        parts = self._unpack(data)
        if type(parts) is not list or len(parts) != len(types):
            raise Undecodable(f"expected {len(types)} parts")
        for part, wanted in zip(parts, types, strict=True):
            if not isinstance(part, wanted):
                raise Undecodable(f"expected {wanted}, got {type(part).__name__}")
        return parts

    def _values(self, data: bytes) -> list[Any]:
        values = self._unpack(data)
        return values if type(values) is list else _no_list(values)

    def _tuple(self, data: bytes) -> tuple[Any, ...]:
        values = self._unpack(data)
        return tuple(values if type(values) is list else _no_list(values))

    def _enum(self, data: bytes) -> Any:
        number, name, value = self._unpack(data)
        cls: Any = self._schema_for(number, ClassKind.ENUM).cls
        if name is None:
            return cls(value)
        self._know(number, cls._member_map_)
        member = cls.__members__.get(name)
        if not isinstance(member, Enum):
            raise VersionSkew(f"{cls.__module__}.{cls.__qualname__}", name, "is no member here")
        return member

    def _instance(self, data: bytes) -> Any:
        number, values, extra = self._unpack(data)
        if extra is None and type(number) is int:
            build = self._builders.get(number)
            if build is not None:
                return build(values)
        schema = self._schema_for(number, ClassKind.DATACLASS, ClassKind.ATTRS)
        if number not in self._builders:
            self._builders[number] = builder_of(schema)
            self._know(number, plan_of(schema))
        return schema.rebuild(values, extra)

    def _named_tuple(self, data: bytes) -> Any:
        number, values, *extra = self._unpack(data)
        schema = self._schema_for(number, ClassKind.NAMEDTUPLE)
        self._know(number, plan_of(schema))
        values = values if type(values) is list else _no_list(values)
        return schema.rebuild(values, extra[0] if extra else None)

    def _know(self, number: int, what: Any) -> None:
        """Let C code rebuild the instances of a class that was found, and fits."""
        if what is not None:
            self._known.setdefault(number, what)

    def _model(self, data: bytes) -> Any:
        number, state, extra, private, fields = self._parts(data, int, dict, _DICT, _DICT, list)
        instance: Any = object.__new__(self._schema_for(number, ClassKind.PYDANTIC).cls)
        object.__setattr__(instance, "__dict__", state)
        object.__setattr__(instance, "__pydantic_extra__", extra)
        object.__setattr__(instance, "__pydantic_private__", private)
        object.__setattr__(instance, "__pydantic_fields_set__", set(fields))
        return instance

    def _named_value(self, data: bytes) -> Any:
        number = self._unpack(data)
        if type(number) is int and number in self._named:
            return self._named[number]
        known, found = self._find_introduced(number)
        if known.kind != ClassKind.NAMED or not is_named(found):
            raise Undecodable(f"{known.module}.{known.qualname} is no class or function here")
        try:
            check_named(found)
        except Unsendable as error:
            raise Undecodable(f"{known.module}.{known.qualname}: {error.why}") from error
        self._named[number] = found
        return found

    def _adapted(self, data: bytes) -> Any:
        number, *parts = self._values(data)
        schema = self._schema_for(number, ClassKind.ADAPTED, ClassKind.PICKLED)
        return adapter_for(schema).put_together(*parts)

    def _custom(self, data: bytes) -> Any:
        number, value = self._unpack(data)
        return CUSTOM[self._schema_for(number, ClassKind.CUSTOM).cls].decode(value)

    def _error(self, data: bytes) -> BaseException:
        number, name, last, whole, body = self._parts(data, (int, type(None)), str, str, str, bytes)
        error: BaseException
        try:
            schema = self._schema_for(number, ClassKind.EXCEPTION)
            parts = ErrorParts(
                *self._parts(body, list, dict, object, _LIST_OR_NONE, object, object, bool)
            )
            error = rebuild_error(schema.cls, parts)
            attach_text(error, whole)
        except Exception as failure:  # noqa: BLE001 - whatever is wrong with it, its text gets through
            error = RemoteError(whole or last, name)
            error.__context__ = failure if isinstance(failure, TransportError) else None
            error.__suppress_context__ = True
        return error

    def _dict(self, data: bytes) -> dict[Any, Any]:
        keys, items = self._parts(data, list, list)
        return dict(zip(keys, items, strict=True))

    def _deque(self, data: bytes) -> deque[Any]:
        size, items = self._parts(data, (int, type(None)), list)
        return deque(items, size)

    # How the bytes of each tag become a value.
    _decoders: ClassVar[dict[int, Callable[[Any, bytes], Any]]] = {
        **{tag: _scalar(read) for tag, read in READERS.items()},
        Tag.TUPLE: _tuple,
        Tag.SET: lambda self, data: set(self._values(data)),
        Tag.FROZENSET: lambda self, data: frozenset(self._values(data)),
        Tag.BYTEARRAY: lambda _, data: bytearray(data),
        Tag.BIG_INT: lambda _, data: int.from_bytes(data, "little", signed=True),
        Tag.DICT: _dict,
        Tag.DEQUE: _deque,
        Tag.ENUM: _enum,
        Tag.INSTANCE: _instance,
        Tag.NAMEDTUPLE: _named_tuple,
        Tag.PYDANTIC: _model,
        Tag.CUSTOM: _custom,
        Tag.EXCEPTION: _error,
        Tag.NAMED: _named_value,
        Tag.ADAPTED: _adapted,
        Tag.ATTACHMENT: lambda self, data: self._attachments.decode(self._values(data)),
    }


def _no_list(value: Any) -> NoReturn:
    raise Undecodable(f"expected a list, got {type(value).__name__}")


def _undecodable(error: Exception) -> Undecodable:
    """An error as `Undecodable`; made outside the handler, whose frame would become part of a cycle."""
    if isinstance(error, Undecodable):
        return error
    failure = Undecodable(f"cannot rebuild a value: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


_DICT: Final = (dict, type(None))
_LIST_OR_NONE: Final = (list, type(None))


def _first_undecoded(field: Any) -> Any:
    """The first `Undecoded` anywhere in a field; the field itself if there is none."""
    waiting = [field]
    while waiting:
        part = waiting.pop()
        if type(part) is Undecoded:
            return part
        if type(part) is list:
            waiting.extend(part)
        elif type(part) is dict:
            waiting.extend(part.values())
            waiting.extend(part)
    return field
