"""The constructor of an actor, as `spawn`, `child` and `pool` are given it: checked at the call.

It is a class, or a `functools.partial` of one, and positional arguments: ``spawn(Counter, 10)`` or
``spawn(partial(Counter, step=2), 10)``. So every keyword of these verbs is an option of theirs.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from functools import lru_cache, partial, wraps
from inspect import Parameter, Signature
from typing import Any, Final, TypeVar, get_origin

from actors._base.errors import InvalidSpec
from actors._known_options import no_option
from actors._messaging.message_table import ROOT_MARK

__all__ = ["constructor_options", "unpack_constructor"]

C = TypeVar("C", bound=Callable[..., Any])

_PLACEHOLDER: Final[Any] = getattr(functools, "Placeholder", object())
"""What keeps a place free among the positional arguments of a partial, from Python 3.14 on."""


def constructor_options(fn: C) -> C:
    """Decorate *fn*, which takes a constructor, positional arguments for it, and options of its own.

    The call raises `InvalidSpec` for a keyword that is no option, and for what the constructor does not take.
    """
    parameters = inspect.signature(fn).parameters
    place = list(parameters).index("cls")
    options = [name for name, one in parameters.items() if one.kind is Parameter.KEYWORD_ONLY]

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        cls: Any = None
        given: tuple[Any, ...] = ()
        own: dict[str, Any] = {}
        if len(args) > place:
            cls, given, own = unpack_constructor(args[place], args[place + 1 :])
        signature = _signature(cls) if hasattr(cls, ROOT_MARK) and isinstance(cls, type) else None
        called = f"{fn.__name__}({getattr(cls, '__name__', '')})"
        for name in kwargs:
            if name not in options:
                raise InvalidSpec(_unknown(called, cls, signature, name, options))
        if signature is not None:
            _check(called, cls, signature, given, own, options=kwargs)
        return fn(*args, **kwargs)

    return call  # type: ignore[return-value] # it takes and returns what *fn* does


def unpack_constructor(
    cls: Any, args: tuple[Any, ...]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Return the class, the positional and the keyword arguments of what may be partials of a class.

    The class comes without type parameters: ``Stack[int]`` as ``Stack``.

    Raises:
        InvalidSpec: nothing takes the place of a `functools.Placeholder`.
    """
    kwargs: dict[str, Any] = {}
    while isinstance(cls, partial):
        args = _filled(cls, args)
        kwargs = {**cls.keywords, **kwargs}
        cls = cls.func
    return get_origin(cls) or cls, args, kwargs


def _filled(held: partial[Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    rest = iter(args)
    first = [next(rest, one) if one is _PLACEHOLDER else one for one in held.args]
    if any(one is _PLACEHOLDER for one in first):
        raise InvalidSpec(f"{held!r} has a Placeholder, and no argument is given in its place")
    return (*first, *rest)


@lru_cache(maxsize=1024)
def _signature(cls: type) -> Signature:
    """Return what the constructor of *cls* takes, without self."""
    init: Any = vars(cls).get("__init__") or cls.__init__  # type: ignore[misc] # it is only looked at
    if init is object.__init__:
        return Signature()
    signature = inspect.signature(init, follow_wrapped=False)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _unknown(
    called: str, cls: Any, signature: Signature | None, name: str, options: list[str]
) -> str:
    """Return the text of the error for a keyword that is no option: it may be meant for the constructor."""
    theirs = (
        [] if signature is None else [one for one in _keywords(signature) if one not in options]
    )
    close = difflib.get_close_matches(name, [*theirs, *options], n=1)
    takes_all = signature is not None and _takes_all(signature)
    meant = close[0] if close else name
    if meant not in theirs and (meant in options or not takes_all):
        return no_option(called, name, options)
    given = f"functools.partial({cls.__name__}, {meant}=...)"
    return f"{called} has no option {name!r}; a keyword of the constructor goes in {given}"


def _keywords(signature: Signature) -> list[str]:
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return [one.name for one in signature.parameters.values() if one.kind in kinds]


def _takes_all(signature: Signature) -> bool:
    return any(one.kind is Parameter.VAR_KEYWORD for one in signature.parameters.values())


def _check(
    called: str,
    cls: Any,
    signature: Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    options: Collection[str],
) -> None:
    theirs = _keywords(signature)
    unknown = [] if _takes_all(signature) else [name for name in kwargs if name not in theirs]
    if unknown:
        close = difflib.get_close_matches(unknown[0], theirs, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidSpec(f"{called}: its constructor has no parameter {unknown[0]!r}{hint}")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        missing = next((name for name in theirs if str(error).endswith(repr(name))), None)
        way = "" if missing is None else _way(cls, signature.parameters[missing], options)
        raise InvalidSpec(f"{called}: its constructor: {error}{way}") from error


def _way(cls: Any, missing: Parameter, options: Collection[str]) -> str:
    """Return how to give an argument that is missing, where that is not plain."""
    given = f"functools.partial({cls.__name__}, {missing.name}=...)"
    if missing.name in options:
        return f"; {missing.name}= is an option, the constructor's goes by position or in {given}"
    return f"; it goes in {given}" if missing.kind is Parameter.KEYWORD_ONLY else ""
