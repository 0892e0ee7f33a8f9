"""Dicts with more to them, and namespaces, of the standard library."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from actors.transport.errors import Undecodable
from actors.transport.types.adapters import Adapter, paths

__all__ = ["ADAPTERS"]


def _from_dict(make: Callable[[dict[Any, Any]], Any]) -> Callable[[Any], Any]:
    def put_together(items: Any) -> Any:
        if type(items) is not dict:
            raise Undecodable(f"expected the items of a dict, got {type(items).__name__}")
        return make(items)

    return put_together


def _attributes(value: SimpleNamespace) -> tuple[Any, ...]:
    return [*vars(value)], *vars(value).values()


def _attribute_path(value: SimpleNamespace, index: int) -> str:
    return f".{[*vars(value)][index - 1]}"


def _namespace(names: list[str], *values: Any) -> SimpleNamespace:
    return SimpleNamespace(**dict(zip(names, values, strict=True)))


ADAPTERS: Final[dict[type, Adapter]] = {
    OrderedDict: Adapter(lambda value: (dict(value),), _from_dict(OrderedDict)),
    Counter: Adapter(lambda value: (dict(value),), _from_dict(Counter)),
    defaultdict: Adapter(
        lambda value: (value.default_factory, dict(value)),
        defaultdict,
        paths(".default_factory", ""),
    ),
    SimpleNamespace: Adapter(_attributes, _namespace, _attribute_path),
}
