"""Addresses, networks and interfaces of `ipaddress`, as the text that they are written as."""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, Final

from actors.transport.types.adapters import Adapter, by_reference

__all__ = ["ADAPTERS"]

_CLASSES: Final[tuple[Any, ...]] = (
    IPv4Address,
    IPv6Address,
    IPv4Interface,
    IPv6Interface,
    IPv4Network,
    IPv6Network,
)

ADAPTERS: Final[dict[type, Adapter]] = {
    cls: Adapter(lambda value: (str(value),), cls, copy=by_reference) for cls in _CLASSES
}
