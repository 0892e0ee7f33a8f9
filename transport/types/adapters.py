"""Adapters: how values of classes that are not ours are taken apart for a message and put together again.

A class has its adapter in a file of this folder, found by the package that the class comes from. It is loaded
when the first value of the class is sent, or when a peer introduces the class.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NamedTuple

from actors.transport.errors import Unsendable

__all__ = ["Adapter", "adapter_of", "by_reference", "load", "paths"]


def _no_path(_value: Any, _index: int) -> str:
    return ""


class Adapter(NamedTuple):
    """What the codec and snapshots do with the values of one class.

    Attributes:
        take_apart: from a value to its parts, which can be sent; raises `Unsendable` for a value that cannot.
        put_together: from the parts to a value; may raise anything, as the parts may come from a broken peer.
        path: of the value's part with that index, for the error if the part cannot be sent.
        copy: a copy for the same process; without it, the copied parts are put together.
    """

    take_apart: Callable[[Any], tuple[Any, ...]]
    put_together: Callable[..., Any]
    path: Callable[[Any, int], str] = _no_path
    copy: Callable[[Any], Any] | None = None


def paths(*names: str) -> Callable[[Any, int], str]:
    """The `Adapter.path` of values whose parts are always the same."""
    return lambda _value, index: names[index]


def by_reference(value: Any) -> Any:
    """The `Adapter.copy` of values that cannot be changed."""
    return value


_FILES: Final[dict[str, str]] = {
    "array": "typed_array",
    "collections": "collections",
    "fractions": "fractions",
    "functools": "partials",
    "ipaddress": "addresses",
    "PIL": "images",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "arrow",
    "re": "patterns",
    "torch": "tensors",
    "types": "collections",
}
"""From the first name of a class's module to the file with its adapter."""


def adapter_of(cls: type) -> Adapter | None:
    """The adapter for values of exactly this class, or None if there is none.

    Raises:
        Unsendable: there is one, and a library that it needs is missing, or too old.
    """
    file = _FILES.get(cls.__module__.partition(".")[0])
    if file is None:
        return None
    try:
        adapters: dict[type, Adapter] = load(file).ADAPTERS
    except (
        Exception
    ) as error:  # what the library or another that it needs raises while it is imported
        raise Unsendable("", cls, f"what it takes cannot be imported here: {error}") from error
    return adapters.get(cls)


def load(file: str) -> Any:
    """A file of this folder that is imported only when it is needed."""
    return import_module(f"{__package__}.{file}")
