"""`functools.partial`: a function and the arguments it is given in advance."""

from functools import partial
from typing import Any, Final

from actors.transport.types.adapters import Adapter, paths

__all__ = ["ADAPTERS"]


def _take_apart(value: partial[Any]) -> tuple[Any, ...]:
    return value.func, value.args, value.keywords, vars(value) or None


def _put_together(
    func: Any, args: tuple[Any, ...], keywords: dict[str, Any], attributes: dict[str, Any] | None
) -> partial[Any]:
    made = partial(func, *args, **keywords)
    if attributes:
        vars(made).update(attributes)
    return made


ADAPTERS: Final[dict[type, Adapter]] = {
    partial: Adapter(_take_apart, _put_together, paths(".func", ".args", ".keywords", "")),
}
