"""Checks of options where they come in: unknown ones are refused with the name that was probably meant."""

from __future__ import annotations

import difflib
import inspect
import math
from functools import lru_cache, wraps
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, get_origin

from actors._base.errors import InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["check_ask_timeout", "check_patience", "check_sizes", "constructor_options"]

_LEAST: Final = 64 * 1024
_MOST: Final = 2**32 - 1

P = ParamSpec("P")
R = TypeVar("R")


def constructor_options(fn: Callable[P, R]) -> Callable[P, R]:
    """Decorate *fn*, which takes a class, arguments of its constructor and options of its own.

    The class comes without type parameters: ``Stack[int]`` as ``Stack``. The call raises `InvalidSpec` for an
    argument that the constructor does not take, and for a keyword that is an option and might also be meant
    for the constructor.
    """
    parameters = inspect.signature(fn).parameters
    place = list(parameters).index("cls")
    options = [name for name, one in parameters.items() if one.kind is Parameter.KEYWORD_ONLY]

    @wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given: list[Any] = list(args)
        if len(given) > place:
            given[place] = cls = get_origin(given[place]) or given[place]
            if isinstance(cls, type):
                _check_constructor(fn.__name__, cls, given[place + 1 :], kwargs, options)
        return fn(*given, **kwargs)

    return call


@lru_cache(maxsize=1024)
def _constructor(cls: type) -> Signature:
    """Return what the constructor of *cls* takes, without self."""
    init: Any = vars(cls).get("__init__") or cls.__init__  # type: ignore[misc] # it is only looked at
    if init is object.__init__:
        return Signature()
    signature = inspect.signature(init, follow_wrapped=False)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _check_constructor(
    where: str, cls: type, args: list[Any], kwargs: dict[str, Any], options: Collection[str]
) -> None:
    signature = _constructor(cls)
    own = {name: value for name, value in kwargs.items() if name not in options}
    by_name = _by_name(signature, len(args))
    for name in kwargs:
        if name in options and name in by_name:
            why = f"{name}= is an option of {where}, and a parameter of the constructor too"
            way = "pass the constructor's by position, or rename it, perhaps in a subclass"
            raise InvalidSpec(f"{where}({cls.__name__}): {why}: {way}")
    takes_all = any(one.kind is Parameter.VAR_KEYWORD for one in signature.parameters.values())
    for name in own:
        if name not in signature.parameters and not takes_all:
            close = difflib.get_close_matches(name, [*options, *by_name], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            why = f"neither an option of {where} nor a parameter of the constructor"
            raise InvalidSpec(f"{where}({cls.__name__}): {name!r} is {why}{hint}")
    try:
        signature.bind(*args, **own)
    except TypeError as error:
        raise InvalidSpec(f"{where}({cls.__name__}): its constructor: {error}") from error


def _by_name(signature: Signature, positional: int) -> list[str]:
    """Return the parameters that keywords can set when there are so many positional arguments."""
    by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    left = list(signature.parameters.values())
    first = [one for one in left if one.kind in by_position][:positional]
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return [one.name for one in left if one.kind in kinds and one not in first]


def check_sizes(where: str, **sizes: int) -> None:
    """Check options that are sizes of messages or of memory, in bytes.

    Raises:
        InvalidSpec: naming the option and its value.
    """
    for name, size in sizes.items():
        if type(size) is not int or not _LEAST <= size <= _MOST:
            raise InvalidSpec(f"{where}: {name} must be {_LEAST} to {_MOST} bytes, got {size!r}")


def check_patience(where: str, seconds: Any) -> float:
    """Return *seconds*, for which messages are to wait for a node that has died.

    Raises:
        InvalidSpec: naming the value.
    """
    if type(seconds) not in {int, float} or not seconds >= 0:
        raise InvalidSpec(f"{where}: patience must be 0 or more seconds, got {seconds!r}")
    return float(seconds)


def check_ask_timeout(where: str, seconds: Any) -> float | None:
    """Return *seconds*, after which an ask is to end; None for never.

    Raises:
        InvalidSpec: naming the value.
    """
    if seconds is not None and (type(seconds) not in {int, float} or not 0 < seconds < math.inf):
        raise InvalidSpec(
            f"{where}: ask_timeout must be more than 0 seconds, or None, got {seconds!r}"
        )
    return seconds if seconds is None else float(seconds)
