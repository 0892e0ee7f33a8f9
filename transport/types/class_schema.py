"""What snapshot and codec know of a class: its kind, its fields, and how to rebuild an instance.

Rebuilding never runs `__init__`, `__new__` or `__setattr__` of the class. Classes of attrs and pydantic
are recognised by attributes of the class; neither package is imported.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from types import BuiltinFunctionType
from typing import Any, Final, get_origin
from zlib import crc32

from actors.transport.errors import VersionSkew
from actors.transport.types.adapters import Adapter, adapter_of
from actors.transport.types.refusals import PRIMITIVE
from actors.transport.types.registry import CUSTOM, PICKLED
from actors.transport.types.tags import ClassKind

__all__ = ["ClassSchema", "adapter_for", "check_schema", "keeper_of_state", "schema_of"]

_DROPPED: Final = frozenset({"__orig_class__"})
_HASH_CACHE: Final = "_attrs_cached_hash"

State = tuple[tuple[Any, ...] | None, dict[str, Any] | None]


@dataclasses.dataclass(frozen=True, slots=True)
class ClassSchema:
    """One sendable class.

    Attributes:
        cls: the class.
        kind: what it is.
        fields: names in order; empty where the names are not part of the schema.
        checksums: four bytes per field, a checksum of its name and annotation.
        immutable: whether immutable parts make it immutable: frozen classes and named tuples.
        slotted: whether fields must be set one by one.
        others: slot names that are not fields.
    """

    cls: type
    kind: ClassKind
    fields: tuple[str, ...] = ()
    checksums: bytes = b""
    immutable: bool = False
    slotted: bool = False
    others: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    read: Callable[[Any], tuple[Any, ...]] = tuple

    def state(self, instance: Any) -> State:
        """Field values in order, or None if one is unset, and the attributes that are no fields."""
        values: tuple[Any, ...] | None
        try:
            values = self.read(instance)
        except AttributeError:
            values = None
        extra = None
        attributes = getattr(instance, "__dict__", None)
        if values is None or self.others or (attributes and not attributes.keys() <= self.names):
            extra = self._extra(instance, attributes or {}, fields=values is None)
        return values, extra or None

    def _extra(
        self, instance: Any, attributes: Mapping[str, Any], *, fields: bool
    ) -> dict[str, Any]:
        wanted = (*self.others, *self.fields) if fields else self.others
        extra = {name: getattr(instance, name) for name in wanted if hasattr(instance, name)}
        extra |= {
            name: value
            for name, value in attributes.items()
            if name not in self.names and name not in _DROPPED
        }
        if _HASH_CACHE in extra:
            extra[_HASH_CACHE] = None
        return extra

    def rebuild(self, values: Sequence[Any] | None, extra: Mapping[str, Any] | None) -> Any:
        """An instance with these field values and other attributes."""
        if values is not None and len(values) != len(self.fields):
            field = (*self.fields, f"[{len(self.fields)}]")[min(len(values), len(self.fields))]
            raise VersionSkew(f"{self.cls.__module__}.{self.cls.__qualname__}", field)
        if self.kind is ClassKind.NAMEDTUPLE:
            return self._rebuild_tuple(values, extra)
        instance: Any = object.__new__(self.cls)
        if not self.slotted and not self.others:
            attributes = instance.__dict__
            if values is not None:
                attributes.update(zip(self.fields, values, strict=True))
            if extra:
                attributes.update(extra)
            return instance
        for name, value in zip(self.fields, values or (), strict=values is not None):
            object.__setattr__(instance, name, value)
        for name, value in (extra or {}).items():
            object.__setattr__(instance, name, value)
        return instance

    def _rebuild_tuple(self, values: Sequence[Any] | None, extra: Mapping[str, Any] | None) -> Any:
        instance: Any = tuple.__new__(self.cls, values or ())
        if extra:
            instance.__dict__.update(extra)
        return instance


def _slots(cls: type) -> list[str]:
    """Names of every slot of the class and its bases, mangled as the attribute is."""
    found = []
    for base in cls.__mro__:
        declared = vars(base).get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else tuple(declared):
            if name in {"__dict__", "__weakref__"}:
                continue
            private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return found


def _annotation(annotation: Any) -> str:
    """A name for an annotation that is the same in every process."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type):
        return annotation.__qualname__
    return str(getattr(get_origin(annotation), "__qualname__", ""))


def _checksums(pairs: list[tuple[str, Any]]) -> bytes:
    return b"".join(
        crc32(f"{name}:{_annotation(kind)}".encode()).to_bytes(4, "little") for name, kind in pairs
    )


def _reader(fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """The values of these attributes, at the speed of C where there are two or more."""
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda instance: tuple([getattr(instance, name) for name in fields])


def _with_fields(
    cls: type, kind: ClassKind, pairs: list[tuple[str, Any]], *, immutable: bool
) -> ClassSchema:
    fields = tuple(name for name, _ in pairs)
    slots = _slots(cls)
    return ClassSchema(
        cls=cls,
        kind=kind,
        fields=fields,
        checksums=_checksums(pairs),
        immutable=immutable,
        slotted=not cls.__dictoffset__ or not set(fields).isdisjoint(slots),
        others=tuple(name for name in slots if name not in fields),
        names=frozenset(fields),
        read=_reader(fields),
    )


def _named_tuple(cls: type) -> ClassSchema | None:
    fields = getattr(cls, "_fields", None)
    if not issubclass(cls, tuple) or not isinstance(fields, tuple) or not hasattr(cls, "_make"):
        return None
    annotations = getattr(cls, "__annotations__", {})
    pairs = [(name, annotations.get(name, "")) for name in fields]
    return ClassSchema(
        cls=cls,
        kind=ClassKind.NAMEDTUPLE,
        fields=fields,
        checksums=_checksums(pairs),
        immutable=True,
    )


def _dataclass(cls: type) -> ClassSchema | None:
    if not dataclasses.is_dataclass(cls):
        return None
    pairs = [(field.name, field.type) for field in dataclasses.fields(cls)]
    frozen = bool(cls.__dataclass_params__.frozen)  # type: ignore[attr-defined]  # every dataclass has it
    return _with_fields(cls, ClassKind.DATACLASS, pairs, immutable=frozen)


def _attrs(cls: type) -> ClassSchema | None:
    attributes = getattr(cls, "__attrs_attrs__", None)
    if attributes is None:
        return None
    pairs = [(attribute.name, attribute.type) for attribute in attributes]
    frozen = getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
    return _with_fields(cls, ClassKind.ATTRS, pairs, immutable=frozen)


def _pydantic(cls: type) -> ClassSchema | None:
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    if model is None or not issubclass(cls, model):
        return None
    known = getattr(cls, "__pydantic_fields__", None) or getattr(cls, "model_fields", {})
    pairs = [(name, field.annotation) for name, field in known.items()]
    return ClassSchema(
        cls=cls, kind=ClassKind.PYDANTIC, fields=tuple(known), checksums=_checksums(pairs)
    )


@lru_cache(maxsize=4096)
def _schema_for(cls: type) -> ClassSchema | None:
    if issubclass(cls, Enum):
        return ClassSchema(cls=cls, kind=ClassKind.ENUM)
    if issubclass(cls, BaseException):
        return ClassSchema(cls=cls, kind=ClassKind.EXCEPTION)
    if adapter_of(cls) is not None:
        return ClassSchema(cls=cls, kind=ClassKind.ADAPTED)
    found = _named_tuple(cls)
    if found is not None or issubclass(cls, PRIMITIVE):
        return found
    found = _pydantic(cls) or _attrs(cls) or _dataclass(cls)
    return None if found is None or keeper_of_state(cls) is not None else found


def keeper_of_state(cls: type) -> type | None:
    """The base written in C that keeps state of its own, out of Python's sight; None if there is none."""
    bases = cls.__mro__[:-1]
    return next(
        (base for base in bases if type(vars(base).get("__new__")) is BuiltinFunctionType), None
    )


def schema_of(cls: type) -> ClassSchema | None:
    """How instances of exactly `cls` are read and rebuilt, or None if they do not travel."""
    if cls in CUSTOM:
        return ClassSchema(cls=cls, kind=ClassKind.CUSTOM)
    if cls in PICKLED:
        return ClassSchema(cls=cls, kind=ClassKind.PICKLED, fields=PICKLED[cls].names)
    return _schema_for(cls)


def adapter_for(schema: ClassSchema) -> Adapter:
    """The adapter of a class of the kinds ADAPTED and PICKLED."""
    if schema.kind is ClassKind.PICKLED:
        return PICKLED[schema.cls].adapter
    adapter = adapter_of(schema.cls)
    assert adapter is not None
    return adapter


def check_schema(schema: ClassSchema, kind: int, checksums: bytes, fields: list[str]) -> None:
    """Compare our class with the one the peer introduced.

    Raises:
        VersionSkew: naming the first field that differs.
    """
    name = f"{schema.cls.__module__}.{schema.cls.__qualname__}"
    if schema.kind != kind:
        there = ClassKind(kind).name if kind in set(ClassKind) else f"kind {kind}"
        raise VersionSkew(name, "__class__", f"is {schema.kind.name} here and {there} there")
    ours = schema.fields
    if checksums == schema.checksums and tuple(fields) == ours:
        return
    for index in range(max(len(ours), len(fields))):
        if index >= len(ours):
            raise VersionSkew(name, fields[index], "does not exist here")
        if index >= len(fields):
            raise VersionSkew(name, ours[index], "does not exist there")
        if fields[index] != ours[index]:
            raise VersionSkew(name, ours[index], f"is {fields[index]} there")
        if checksums[index * 4 : index * 4 + 4] != schema.checksums[index * 4 : index * 4 + 4]:
            raise VersionSkew(name, ours[index], "has another type there")
