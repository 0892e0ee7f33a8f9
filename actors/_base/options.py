"""Refusal of unknown keyword options, with the name that was probably meant."""

from __future__ import annotations

import difflib
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from actors._base.errors import InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_sizes", "known_options"]

_LEAST: Final = 64 * 1024
_MOST: Final = 2**32 - 1

P = ParamSpec("P")
R = TypeVar("R")


def known_options(fn: Callable[P, R]) -> Callable[P, R]:
    """Decorate *fn* so that it raises `InvalidSpec` for a keyword that it does not have."""
    known = [
        name
        for name, parameter in inspect.signature(fn).parameters.items()
        if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY
    ]

    @wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
                raise InvalidSpec(f"{fn.__name__}() has no option {name!r}; {hint}")
        return fn(*args, **kwargs)

    return call


def check_sizes(where: str, **sizes: int) -> None:
    """Check options that are sizes of messages or of memory, in bytes.

    Raises:
        InvalidSpec: naming the option and its value.
    """
    for name, size in sizes.items():
        if type(size) is not int or not _LEAST <= size <= _MOST:
            raise InvalidSpec(f"{where}: {name} must be {_LEAST} to {_MOST} bytes, got {size!r}")
