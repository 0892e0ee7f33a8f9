"""Functions made for one class: what copies, reads and builds its instances without a loop over the fields.

Rule: they serve the common case, an instance that has all of its fields and nothing else. Where that is not so,
`ClassSchema` does the same field by field.
"""

import keyword
from collections.abc import Callable, Sequence
from enum import Flag
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from actors.transport.types.class_schema import ClassSchema
from actors.transport.types.tags import LEAVES, ClassKind
from actors.transport.types.twins import Plan, PlanKind, all_leaves, new_plan

__all__ = ["builder_of", "copier_of", "plain_values_of", "plan_of"]

_MOST_FIELDS: Final = 64
"""Of a class for which functions are made; the source grows with each."""

_Copier = Callable[[Any, int], Any]


def _only_slots(schema: ClassSchema) -> list[MemberDescriptorType] | None:
    """The slots of a class whose instances have a slot for each field and nothing else; None for others."""
    if not schema.slotted or schema.others or schema.cls.__dictoffset__:
        return None
    if not 0 < len(schema.fields) <= _MOST_FIELDS:
        return None
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in schema.fields):
        return None
    found = [_found_on(schema.cls, name) for name in schema.fields]
    slots = [one for one in found if isinstance(one, MemberDescriptorType)]
    return slots if len(slots) == len(found) else None


def _found_on(cls: type, name: str) -> Any:
    """What the class has under a name, as it stands there."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _has_only_attributes(schema: ClassSchema) -> bool:
    """Whether the attributes of an instance are all that it has, and are read as they are kept."""
    if schema.slotted or schema.others or schema.kind is ClassKind.NAMEDTUPLE:
        return False
    return not any(hasattr(type(_found_on(schema.cls, name)), "__set__") for name in schema.fields)


def plan_of(schema: ClassSchema) -> Plan | None:
    """What C code has to know of the class; None if its instances need Python code."""
    cls, fields = schema.cls, schema.fields
    if schema.kind is ClassKind.ENUM:
        return None if issubclass(cls, Flag) else new_plan(PlanKind.ENUM, cls)
    if schema.kind is ClassKind.NAMEDTUPLE:
        return new_plan(PlanKind.NAMEDTUPLE, cls, fields, immutable=True)
    if schema.kind not in (ClassKind.DATACLASS, ClassKind.ATTRS) or len(fields) > _MOST_FIELDS:
        return None
    slots = _only_slots(schema)
    attributes = isinstance(_found_on(cls, "__dict__"), GetSetDescriptorType)
    if slots is None and not (attributes and _has_only_attributes(schema)):
        return None
    given = None if slots is None else tuple(slots)
    return new_plan(PlanKind.FIELDS, cls, fields, given, immutable=schema.immutable)


def _made(source: list[str], names: dict[str, Any], cls: type) -> Any:
    """The function `made` that some lines define."""
    text = "\n".join(["def made(value, depth=0):", *(f"    {line}" for line in source)])
    code = compile(text, f"<made for {cls.__qualname__}>", "exec")
    exec(code, names)  # noqa: S102 - the only foreign words in it are names of fields, checked above
    return names["made"]


def copier_of(
    schema: ClassSchema, copy_values: Callable[[Any, Sequence[Any], int], Any], slow: _Copier
) -> _Copier:
    """A copier for the instances of the class; of an immutable one, it returns those that hold leaves only.

    Args:
        schema: of the class.
        copy_values: copies an instance with these values of its fields, of which one is no leaf.
        slow: copies an instance that has not all fields, or has more than them.
    """
    slots = _only_slots(schema)
    if slots is None:
        return (
            _attributes_copier(schema, copy_values, slow) if _has_only_attributes(schema) else slow
        )
    parts = range(len(slots))
    names: dict[str, Any] = {"cls": schema.cls, "leaves": LEAVES, "new": object.__new__}
    names |= {"slow": slow, "copy_values": copy_values}
    names |= {f"set{at}": slot.__set__ for at, slot in enumerate(slots)}
    plain = " and ".join(f"type(p{at}) in leaves" for at in parts)
    copied = ["return value"]
    if not schema.immutable:
        copied = ["copied = new(cls)", *(f"set{at}(copied, p{at})" for at in parts)]
        copied.append("return copied")
    source = [
        "try:",
        *(f"    p{at} = value.{name}" for at, name in enumerate(schema.fields)),
        "except AttributeError:",
        "    return slow(value, depth)",
        f"if {plain}:",
        *(f"    {line}" for line in copied),
        f"return copy_values(value, ({', '.join(f'p{at}' for at in parts)},), depth)",
    ]
    made: _Copier = _made(source, names, schema.cls)
    return made


def _attributes_copier(
    schema: ClassSchema, copy_values: Callable[[Any, Sequence[Any], int], Any], slow: _Copier
) -> _Copier:
    """As `copier_of`, for a class whose instances keep all in their attributes."""
    cls, new, by_reference, fields = schema.cls, object.__new__, schema.immutable, schema.fields

    def copy(value: Any, depth: int) -> Any:
        attributes = value.__dict__
        if tuple(attributes) != fields:
            return slow(value, depth)
        if not all_leaves(attributes.values()):
            return copy_values(value, tuple(attributes.values()), depth)
        if by_reference:
            return value
        copied: Any = new(cls)
        copied.__dict__.update(attributes)
        return copied

    return copy


def plain_values_of(
    schema: ClassSchema, leaves: frozenset[type]
) -> Callable[[Any], tuple[Any, ...] | None]:
    """What returns the values of the fields of an instance in order, if all of them are of *leaves*.

    It returns None for an instance that has other values, not all fields, or more than them.
    """
    if _only_slots(schema) is None:
        return _plain_attributes_of(schema, leaves)
    parts = range(len(schema.fields))
    source = [
        "try:",
        *(f"    p{at} = value.{name}" for at, name in enumerate(schema.fields)),
        "except AttributeError:",
        "    return None",
        f"if {' and '.join(f'type(p{at}) in leaves' for at in parts)}:",
        f"    return ({', '.join(f'p{at}' for at in parts)},)",
        "return None",
    ]
    made: Callable[[Any], tuple[Any, ...] | None] = _made(source, {"leaves": leaves}, schema.cls)
    return made


def _plain_attributes_of(
    schema: ClassSchema, leaves: frozenset[type]
) -> Callable[[Any], tuple[Any, ...] | None]:
    """As `plain_values_of`, for any class."""
    if not _has_only_attributes(schema):
        return lambda _value: None
    fields, plain = schema.fields, leaves.issuperset

    def values(value: Any) -> tuple[Any, ...] | None:
        attributes = value.__dict__
        if tuple(attributes) != fields or not plain(map(type, attributes.values())):
            return None
        return tuple(attributes.values())

    return values


def builder_of(schema: ClassSchema) -> Callable[[Any], Any]:
    """What makes an instance from the list of the values of its fields, as a peer sent it.

    Raises:
        VersionSkew: there are more or fewer of them.
    """
    slots = _only_slots(schema)
    if slots is None:
        return _attributes_builder(schema)
    parts = range(len(slots))
    names: dict[str, Any] = {"cls": schema.cls, "new": object.__new__, "rebuild": schema.rebuild}
    names |= {f"set{at}": slot.__set__ for at, slot in enumerate(slots)}
    source = [
        f"if type(value) is not list or len(value) != {len(slots)}:",
        "    return rebuild(value, None)",
        f"{', '.join(f'p{at}' for at in parts)}, = value",
        "built = new(cls)",
        *(f"set{at}(built, p{at})" for at in parts),
        "return built",
    ]
    made: Callable[[Any], Any] = _made(source, names, schema.cls)
    return made


def _attributes_builder(schema: ClassSchema) -> Callable[[Any], Any]:
    """As `builder_of`, for any class."""
    cls, new, fields, rebuild = schema.cls, object.__new__, schema.fields, schema.rebuild
    only_attributes, count = _has_only_attributes(schema), len(schema.fields)

    def build(values: Any) -> Any:
        if not only_attributes or type(values) is not list or len(values) != count:
            return rebuild(values, None)
        built: Any = new(cls)
        built.__dict__.update(zip(fields, values, strict=True))
        return built

    return build
