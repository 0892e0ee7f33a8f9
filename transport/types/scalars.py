"""How scalars of the standard library (dates, decimals, paths ...) become plain data and back.

One row per type. A reader leaves checks to the constructor: whatever that raises becomes `Undecodable`.
Nothing here imports a module, or reads files outside the time zone folders.
"""

import datetime as dt
import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import TZPATH, ZoneInfo

from actors.transport.errors import Undecodable, Unsendable
from actors.transport.types.tags import Tag

__all__ = ["READERS", "SCALARS", "Scalar", "check_zone", "copy_view"]

_PATHS: Final[dict[type, str]] = {
    PurePosixPath: "pure posix",
    PureWindowsPath: "pure windows",
    PosixPath: "posix",
    WindowsPath: "windows",
}
_PATH_TYPES: Final[dict[str, Any]] = {name: cls for cls, name in _PATHS.items()}
_ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")


class Scalar(NamedTuple):
    """One type: its tag and its way to plain data."""

    tag: Tag
    write: Callable[[Any], Any]


def check_zone(zone: Any, value: Any) -> None:
    """Refuse zones that are neither of the standard library's two kinds.

    Raises:
        Unsendable: at ``.tzinfo`` of the value.
    """
    if (
        zone is None
        or type(zone) is dt.timezone
        or (type(zone) is ZoneInfo and zone.key is not None)
    ):
        return
    kind = type(value).__name__
    why = f"the zone of {kind} must be a timezone, or a ZoneInfo with a key"
    raise Unsendable("" if zone is value else ".tzinfo", zone, why)


def _write_zone(zone: Any, value: Any) -> Any:
    check_zone(zone, value)
    if zone is None:
        return None
    if type(zone) is ZoneInfo:
        return zone.key
    offset, *name = zone.__getinitargs__()
    return [offset.days, offset.seconds, offset.microseconds, *name]


@lru_cache(maxsize=1024)
def _named_zone(key: str) -> ZoneInfo:
    """A zone from this machine's folders, so that `ZoneInfo` does not import the tzdata package for it."""
    if not _ZONE_KEY.fullmatch(key) or not any(Path(root, key).is_file() for root in TZPATH):
        raise Undecodable(f"no time zone {key!r} on this machine")
    return ZoneInfo(key)


def _read_zone(plain: Any) -> Any:
    if plain is None:
        return None
    if isinstance(plain, str):
        return _named_zone(plain)
    days, seconds, microseconds, *name = plain
    return dt.timezone(dt.timedelta(days, seconds, microseconds), *name)


def _write_datetime(value: dt.datetime) -> list[Any]:
    time = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return [value.year, value.month, value.day, *time, _write_zone(value.tzinfo, value)]


def _read_datetime(plain: list[Any]) -> dt.datetime:
    year, month, day, hour, minute, second, micro, fold, zone = plain
    tzinfo = _read_zone(zone)
    return dt.datetime(year, month, day, hour, minute, second, micro, tzinfo, fold=fold)


def _write_time(value: dt.time) -> list[Any]:
    time = [value.hour, value.minute, value.second, value.microsecond, value.fold]
    return [*time, _write_zone(value.tzinfo, value)]


def _read_time(plain: list[Any]) -> dt.time:
    hour, minute, second, micro, fold, zone = plain
    return dt.time(hour, minute, second, micro, _read_zone(zone), fold=fold)


def _shaped(data: bytes, form: Any, shape: Any) -> memoryview:
    view = memoryview(data).cast("B").cast(form)
    if len(shape) == 1 and list(shape) == list(view.shape or ()):  # the only form of an empty view
        return view
    if len(shape) > 1 and not shape[0] and not data:
        one = bytes(view.itemsize * math.prod(shape[1:]))
        return memoryview(one).cast("B").cast(form, (1, *shape[1:]))[:0]
    return memoryview(data).cast("B").cast(form, tuple(shape))


def copy_view(view: memoryview) -> memoryview:
    """A read-only view of a copy of exactly the bytes that `view` shows.

    Raises:
        Unsendable: a format or shape that a copy cannot have.
    """
    try:
        return _shaped(view.tobytes(), view.format, view.shape)
    except (ValueError, TypeError) as error:
        why = f"a view like this does not travel ({error}); send bytes(view)"
        raise Unsendable("", view, why) from error


def _write_view(view: memoryview) -> list[Any]:
    copy = copy_view(view)
    return [copy.format, list(copy.shape or ()), copy.tobytes()]


SCALARS: Final[dict[type, Scalar]] = {
    complex: Scalar(Tag.COMPLEX, lambda value: [value.real, value.imag]),
    dt.datetime: Scalar(Tag.DATETIME, _write_datetime),
    dt.date: Scalar(Tag.DATE, dt.date.toordinal),
    dt.time: Scalar(Tag.TIME, _write_time),
    dt.timedelta: Scalar(
        Tag.TIMEDELTA, lambda value: [value.days, value.seconds, value.microseconds]
    ),
    dt.timezone: Scalar(Tag.TIMEZONE, lambda value: _write_zone(value, value)),
    ZoneInfo: Scalar(Tag.TIMEZONE, lambda value: _write_zone(value, value)),
    UUID: Scalar(Tag.UUID, lambda value: value.bytes),
    Decimal: Scalar(Tag.DECIMAL, str),
    range: Scalar(Tag.RANGE, lambda value: [value.start, value.stop, value.step]),
    memoryview: Scalar(Tag.MEMORYVIEW, _write_view),
    **{cls: Scalar(Tag.PATH, lambda value: [_PATHS[type(value)], str(value)]) for cls in _PATHS},
}

READERS: Final[dict[Tag, Callable[[Any], Any]]] = {
    Tag.COMPLEX: lambda plain: complex(*plain),
    Tag.DATETIME: _read_datetime,
    Tag.DATE: dt.date.fromordinal,
    Tag.TIME: _read_time,
    Tag.TIMEDELTA: lambda plain: dt.timedelta(*plain),
    Tag.TIMEZONE: _read_zone,
    Tag.UUID: lambda plain: UUID(bytes=plain),
    Tag.DECIMAL: Decimal,
    Tag.RANGE: lambda plain: range(*plain),
    Tag.MEMORYVIEW: lambda plain: _shaped(plain[2], plain[0], plain[1]),
    Tag.PATH: lambda plain: _PATH_TYPES[plain[0]](plain[1]),
}
