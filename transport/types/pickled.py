"""Classes that `register(T, via="pickle")` lets travel as pickles: protocol 5, with buffers beside it.

A pickle names nothing. Classes and functions in it are numbers in the list that the receiver has registered
by itself; arrays, dates and the like stand beside it too, as the codec sends them. Before it is read, its
opcodes are checked: only those that protocol 5 writes, and no length that is longer than the pickle.
"""

import io
import pickle
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

from actors.transport.errors import Undecodable, Unsendable, short_repr
from actors.transport.types.adapters import Adapter
from actors.transport.types.numpy import is_array, is_scalar
from actors.transport.types.scalars import SCALARS

__all__ = ["check_globals", "check_pickle", "pickle_adapter"]

_REFUSED: Final = frozenset(
    {"builtins", "os", "posix", "nt", "operator", "_operator", "copyreg", "importlib", "subprocess"}
)
"""With what is in these modules a pickle could do anything."""

_GLOBALS: Final = (type, FunctionType, BuiltinFunctionType)

# How far it is from one opcode to the next: opcode and argument, or the bytes of a length that comes first.
_FIXED: Final[dict[bytes, int]] = {
    **dict.fromkeys((pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.MARK, pickle.POP), 1),
    **dict.fromkeys((pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3), 1),
    **dict.fromkeys((pickle.TUPLE, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS), 1),
    **dict.fromkeys((pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS, pickle.POP_MARK), 1),
    **dict.fromkeys((pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.MEMOIZE), 1),
    **dict.fromkeys((pickle.REDUCE, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.BUILD), 1),
    **dict.fromkeys((pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.BINPERSID), 1),
    **dict.fromkeys((pickle.BININT1, pickle.BINGET), 2),
    **dict.fromkeys((pickle.BININT, pickle.LONG_BINGET), 5),
    pickle.BININT2: 3,
    pickle.BINFLOAT: 9,
    pickle.FRAME: 9,
}
_COUNTED: Final[dict[bytes, int]] = {
    **dict.fromkeys((pickle.SHORT_BINBYTES, pickle.SHORT_BINUNICODE, pickle.LONG1), 1),
    **dict.fromkeys((pickle.BINBYTES, pickle.BINUNICODE, pickle.LONG4), 4),
    **dict.fromkeys((pickle.BINBYTES8, pickle.BINUNICODE8, pickle.BYTEARRAY8), 8),
}
_STEPS: Final = [_FIXED.get(bytes([code]), 0) for code in range(256)]
_LENGTHS: Final = [_COUNTED.get(bytes([code]), 0) for code in range(256)]
_BYTES: Final = frozenset({bytes, memoryview})
_START: Final = pickle.PROTO + bytes([5])


def check_globals(cls: type, allowed: Iterable[Any]) -> tuple[Any, ...]:
    """The class and what else its pickles may name, each once.

    Raises:
        TypeError: an entry is neither a class nor a function.
        ValueError: with an entry a pickle could do anything.
    """
    entries = tuple(dict.fromkeys((cls, *allowed)))
    for entry in entries:
        if not isinstance(entry, _GLOBALS):
            raise TypeError(f"globals are classes and functions, as objects, got {entry!r}")
        owner = getattr(entry, "__self__", None)
        module = getattr(entry, "__module__", None) or type(owner).__module__
        if str(module).partition(".")[0] in _REFUSED:
            name = f"{module}.{entry.__qualname__}"
            raise ValueError(f"with {name} a pickle could do anything: it cannot be registered")
    return entries


def pickle_adapter(cls: type, entries: tuple[Any, ...]) -> Adapter:
    """How objects of the class are taken apart for a message and put together again.

    Args:
        cls: the class.
        entries: what the pickles may name, from `check_globals`; in the same order on every node.
    """
    numbers = {id(entry): number for number, entry in enumerate(entries)}

    def take_apart(value: Any) -> tuple[Any, ...]:
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = _Pickler(file, numbers, cls, buffers.append)
        try:
            pickler.dump(value)
            return file.getvalue(), [buffer.raw() for buffer in buffers], *pickler.beside
        except (Unsendable, RecursionError):
            raise
        except Exception as error:  # whatever a user's __reduce_ex__ or __getstate__ raises
            raise Unsendable("", value, f"pickling it failed: {error}") from error

    def put_together(data: Any, buffers: Any, *beside: Any) -> Any:
        check_pickle(data)
        if not _BYTES.issuperset(map(type, buffers)):  # anything else could be something to call
            raise Undecodable("the buffers of a pickle are bytes")
        made = _Unpickler(data, entries, buffers, beside).load()
        if type(made) is not cls:
            raise Undecodable(f"a pickle of {cls.__qualname__} made a {type(made).__qualname__}")
        return made

    return Adapter(take_apart, put_together)


def _stands_beside(value: object) -> bool:
    return type(value) in SCALARS or is_array(value) or is_scalar(value)


class _Pickler(pickle.Pickler):
    """Writes numbers for the classes and functions of the list, and for values beside the pickle."""

    def __init__(
        self,
        file: io.BytesIO,
        numbers: dict[int, int],
        cls: type,
        keep: Callable[[pickle.PickleBuffer], object],
    ) -> None:
        super().__init__(file, 5, buffer_callback=keep)
        self._numbers = numbers
        self._cls = cls
        self.beside: list[Any] = []

    def persistent_id(self, value: Any) -> int | None:
        if isinstance(value, _GLOBALS):
            number = self._numbers.get(id(value))
            if number is None:
                cls = self._cls.__qualname__
                why = f'a pickle of {cls} names it, and register({cls}, via="pickle", globals=[...]) does not'
                raise Unsendable("", value, why)
            return number
        if _stands_beside(value):
            self.beside.append(value)
            return -len(self.beside)
        return None


class _Unpickler(pickle.Unpickler):
    """Finds nothing by a name, and nothing that is not in its lists."""

    def __init__(
        self, data: bytes, entries: tuple[Any, ...], buffers: Any, beside: tuple[Any, ...]
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._entries = entries
        self._beside = beside

    def persistent_load(self, number: Any) -> Any:
        if type(number) is not int or not -len(self._beside) <= number < len(self._entries):
            raise Undecodable(f"a pickle names {short_repr(number)}, which stands nowhere")
        if number >= 0:
            return self._entries[number]
        value = self._beside[-number - 1]
        if not _stands_beside(value):
            raise Undecodable(f"a {type(value).__qualname__} cannot stand beside a pickle")
        return value

    def find_class(self, module: str, name: str) -> Any:
        raise Undecodable(f"a pickle names {module}.{name} instead of its number")


def check_pickle(data: Any) -> None:
    """Check the opcodes of a pickle and the lengths in it, without reading it.

    Raises:
        Undecodable: it is not what protocol 5 writes.
    """
    if type(data) is not bytes or not data.startswith(_START):
        raise Undecodable("the bytes of an object are no pickle of protocol 5")
    at, end = len(_START), len(data)
    while at < end:
        code = data[at]
        step = _STEPS[code]
        if not step:
            size = _LENGTHS[code]
            if not size:
                break
            step = 1 + size + int.from_bytes(data[at + 1 : at + 1 + size], "little")
        at += step
    if at != end - 1 or data[at:] != pickle.STOP:
        raise Undecodable(f"a pickle is broken at byte {min(at, end)} of {end}")
