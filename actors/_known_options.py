"""A keyword that a function or a class does not have is refused with the name that was probably meant.

Only the decorator may live here, below `supervisors`: what else is checked of options is in `_base.options`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from typing import Any, Final, TypeVar

from actors._root_errors import InvalidSpec

__all__ = ["known_options"]

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
            close = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known) or 'none'}"
            )
            raise error(f"{what}() has no option {name!r}; {hint}")
        return fn(*args, **kwargs)

    return call
