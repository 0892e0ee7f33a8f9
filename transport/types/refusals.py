"""Error texts: why a value cannot be sent and what to do about it; elsewhere it is decided which can."""

from typing import Final

__all__ = ["NEEDS_CODEC", "NOT_LOCAL", "PRIMITIVE", "why_not"]

NOT_LOCAL: Final = "local values do not leave their process"
NEEDS_CODEC: Final = "another thread gets it through the codec"

PRIMITIVE: Final = (
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
    memoryview,
    type,
)
_MASKED: Final = "a masked array does not travel; send value.filled(), or value.data and value.mask"
_WHY: Final[dict[str, str]] = {
    "generator": "running code does not travel",
    "coroutine": "running code does not travel; did you forget to await it?",
    "async_generator": "running code does not travel",
    "Task": "running code does not travel",
    "Future": "running code does not travel",
    "frame": "running code does not travel",
    "module": "modules do not travel",
    "LazyFrame": "a query that has not run does not travel; send value.collect()",
    "MaskedArray": _MASKED,
    "lock": "locks belong to one process",
    "RLock": "locks belong to one process",
    "Lock": "locks belong to one process",
    "Condition": "locks belong to one process",
    "Event": "locks belong to one process",
    "Semaphore": "locks belong to one process",
    "Thread": "threads belong to one process",
    "socket": "sockets are passed as descriptors, never copied",
    "SocketStream": "streams are given away, never copied: send move(stream)",
    "UNIXSocketStream": "streams are given away, never copied: send move(stream)",
    "MovedStream": "streams are given away, never copied: send move(stream)",
    "MovedUnixStream": "streams are given away, never copied: send move(stream)",
    "SSLSocket": "sockets with TLS state do not travel",
    "TextIOWrapper": "open files do not travel",
    "BufferedReader": "open files do not travel",
    "BufferedWriter": "open files do not travel",
    "FileIO": "open files do not travel",
    "Local": "local values do not leave their process",
}


_WHY_BASES: Final[dict[str, str]] = {
    "MaskedArray": _MASKED,
    "ndarray": "{name} is a subclass of numpy.ndarray and would arrive as one; send numpy.asarray(value)",
    "ImageFile": "{name} is an image of an open file; send value.copy()",
    "Tensor": "{name} is a subclass of Tensor and would arrive as one; send value.detach()",
    "DataFrame": "{name} is a subclass of DataFrame and would arrive as one; register({name}, ...)",
}
"""The same for subclasses of classes of other libraries."""


def why_not(value: object, keeper: type | None = None) -> str:
    """Why this value does not travel, in words and with what to do about it.

    Args:
        value: what does not travel.
        keeper: the base of its class that keeps state which cannot be rebuilt, if it has one.
    """
    cls = type(value)
    known = _WHY.get(cls.__name__)
    if known is not None:
        return known
    for base in cls.__mro__[1:]:
        if base.__name__ in _WHY_BASES:
            return _WHY_BASES[base.__name__].format(name=cls.__qualname__)
    for base in (*PRIMITIVE, Exception):
        if isinstance(value, base) and cls is not base:
            hint = f"send {base.__name__}(value), or register({cls.__qualname__}, ...)"
            what = f"{cls.__qualname__} is a subclass of {base.__name__} and would arrive as one"
            return f"{what}; {hint}"
    name = cls.__qualname__
    if keeper is not None and keeper is not cls:
        return f"{name} is a {keeper.__qualname__}, whose state Python code cannot set; register({name}, ...)"
    return f"{name} is not a known type; make it a dataclass, or register({name}, ...)"
