"""A keyword that a function or a class does not have is refused with the name that was probably meant.

Only the decorator and its error may live here, below `supervisors`: values are checked in `_base.options`,
constructors in `_actor.constructor`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter
from typing import Any, Final, TypeVar

from actors._root_errors import InvalidSpec

__all__ = ["known_options", "no_option"]

_BY_NAME: Final = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)

C = TypeVar("C", bound=Callable[..., Any])


def known_options(error: type[InvalidSpec]) -> Callable[[C], C]:
    """Return a decorator of functions and classes: what it decorates raises *error* for an unknown keyword.

    A class is decorated above its ``@dataclass``, and stays the same class.
    """

    def decorate(target: C) -> C:
        if isinstance(target, type):
            target.__init__ = _checked(target.__qualname__, target.__init__, error)  # type: ignore[misc]
            return target
        checked: C = _checked(target.__qualname__.removesuffix(".__init__"), target, error)
        return checked

    return decorate


def no_option(called: str, name: str, known: Iterable[str]) -> str:
    """Return the text of the error for a keyword *name* that is none of the *known* ones."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known) or 'none'}"
    return f"{called} has no option {name!r}; {hint}"


def _checked(what: str, fn: Any, error: type[InvalidSpec]) -> Any:
    known = {
        name: None
        for name, parameter in inspect.signature(fn).parameters.items()
        if parameter.kind in _BY_NAME and name != "self"
    }

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not known.keys() >= kwargs.keys():
            name = next(name for name in kwargs if name not in known)
            raise error(no_option(f"{what}()", name, known))
        return fn(*args, **kwargs)

    return call
