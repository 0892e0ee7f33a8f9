"""Types that users and links add to the sendable ones; each has to be added before its first message."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar, cast, overload

from actors.transport.types.adapters import Adapter, load

__all__ = [
    "CUSTOM",
    "OPAQUE",
    "PICKLED",
    "Custom",
    "Extra",
    "Local",
    "Pickled",
    "local",
    "register",
    "register_immutable",
]

T = TypeVar("T")


class Custom(NamedTuple):
    """How a registered type becomes a sendable value and back."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


CUSTOM: Final[dict[type, Custom]] = {}
PICKLED: Final[dict[type, "Pickled"]] = {}
OPAQUE: Final[set[type]] = set()


class Pickled(NamedTuple):
    """How objects of a class that is registered with ``via="pickle"`` travel.

    Attributes:
        adapter: takes them apart, into a pickle and what stands beside it, and puts them together.
        names: of the classes and functions that their pickles may name; the same on both sides of a link.
    """

    adapter: Adapter
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extra(Generic[T]):
    """A type that only the encoder and decoder of one link know, such as a ref.

    Attributes:
        cls: the exact type.
        encode: from the object to any sendable value.
        decode: from that value to the object.
    """

    cls: type[T]
    encode: Callable[[T], Any]
    decode: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Local(Generic[T]):
    """Marks a value that is passed by reference and never leaves its process."""

    value: T


def local(value: T) -> T:
    """Mark `value` so that it is passed by reference; typed as the value, for signatures."""
    return cast("T", Local(value))


@overload
def register(cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None: ...
@overload
def register(cls: type, *, via: Literal["pickle"], globals: Iterable[Any] = ()) -> None: ...
def register(
    cls: type[Any],
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    *,
    via: Literal["pickle"] | None = None,
    globals: Iterable[Any] = (),  # noqa: A002 - what pickle calls them
) -> None:
    """Make instances of exactly `cls` sendable, on every encoder.

    With ``via="pickle"`` they are pickled by protocol 5, their buffers beside the pickle, in shared memory if
    they are big. A receiver makes only what it has registered itself: a pickle holds numbers instead of names.
    Whoever can write to a link can call each of `globals` with any arguments: list what is needed only.

    Args:
        cls: the type; its subclasses are not included.
        encode: from an instance to any sendable value.
        decode: from that value to an instance; a copy in the same process goes through both.
        via: "pickle", instead of the two functions.
        globals: classes and functions that a pickle of an instance names, besides `cls` itself, as objects and
            in the same order on every node. Arrays of numpy, dates, paths and the like need no entry.

    Raises:
        TypeError: `cls` is not a class, an entry of `globals` is neither class nor function, or `encode` or
            `decode` is missing.
        ValueError: `via` is not "pickle", or with an entry a pickle could do anything: what is in `builtins`,
            `os`, `operator` or `copyreg`.
    """
    _check_class(cls)
    if via is None:
        if encode is None or decode is None or globals:
            raise TypeError(
                f'register({cls.__qualname__}, ...) takes encode and decode, or via="pickle"'
            )
        CUSTOM[cls] = Custom(encode, decode)
        PICKLED.pop(cls, None)
        return
    if via != "pickle":
        raise ValueError(f'via must be "pickle", got {via!r}')
    if encode is not None or decode is not None:
        raise TypeError(f'register({cls.__qualname__}, via="pickle") takes no encode and no decode')
    pickled = load("pickled")  # and the standard library's pickle with it
    entries = pickled.check_globals(cls, globals)
    names = tuple([entry.__qualname__ for entry in entries])
    PICKLED[cls] = Pickled(pickled.pickle_adapter(cls, entries), names)
    CUSTOM.pop(cls, None)


def register_immutable(cls: type) -> None:
    """Let snapshots hand instances of exactly `cls` over by reference.

    Raises:
        TypeError: `cls` is not a class.
    """
    _check_class(cls)
    OPAQUE.add(cls)


def _check_class(cls: object) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"only a class can be registered, got {cls!r}")
