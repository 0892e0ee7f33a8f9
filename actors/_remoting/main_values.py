"""Classes and functions of an interactive `__main__` (a notebook, a REPL) for nodes that cannot import it.

Rule 1: each has a module of its own, ``__main__#1`` and so on, in this process and, made from its bytes, on
its process nodes. So it has one name everywhere, what comes back from a node is of the class that was sent,
and a cell that is run again makes another class, while running actors keep theirs.
Rule 2: the bytes are cloudpickle's: code, and what the code uses of `__main__`. They only ever go from the
process whose `__main__` it is to its own nodes.
"""

from __future__ import annotations

import hashlib
import io
import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from actors.transport import BY_VALUE, Unsendable

__all__ = ["MAIN_VALUES", "MainValues", "is_interactive", "take_definition"]

_MOST: Final = 192 * 1024
"""Bytes of one definition; what is larger would be overtaken by the message that needs it."""


def is_interactive() -> bool:
    """Return whether somebody types the code of `__main__`: in a notebook, IPython or a REPL."""
    return hasattr(sys, "ps1")


class MainValues:
    """What of this process's `__main__` has been named so far."""

    def __init__(self) -> None:
        self.definitions: list[bytes] = []
        """In the order in which nodes have to take them."""
        self._modules: dict[Any, str] = {}
        """By class, or by the bytes of a function."""

    def problem(self, named: Any) -> str:
        """Return why *named* cannot go by value, or an empty text."""
        return self._look(named)[1]

    def module_of(self, named: Any) -> str:
        """Return the module of a class or function that was typed; at first, make it.

        It is ``__main__`` where nobody types, and for what cannot go by value; see `problem`.
        """
        return self._look(named)[0]

    def _look(self, named: Any) -> tuple[str, str]:
        """Return the module of *named*, and why it has none of its own."""
        if isinstance(named, type) and named in self._modules:
            return self._modules[named], ""
        why = ""
        if not is_interactive():
            why = "nobody types in it"
        elif find_spec("cloudpickle") is None:
            why = "that needs the extra notebook, pip install 'actors-framework[notebook]'"
        elif "<locals>" in named.__qualname__ or named.__name__ == "<lambda>":
            why = "it is defined inside a function"
        if not why:
            try:
                return self._define(named), ""
            except Unsendable as error:
                why = error.why
        return "__main__", why

    def _define(self, named: Any) -> str:
        data, used = _pickled(named)
        key = named if isinstance(named, type) else hashlib.sha256(data).digest()
        module = self._modules.get(key)
        if module is not None:
            return module
        if len(data) > _MOST:
            why = f"its code and what it uses are {len(data)} bytes, over {_MOST}"
            raise Unsendable("", named, why)
        # Those that are known already, too: unpickling gives a class its own module again.
        pairs = [(self._new_module(key), named)]
        pairs += [(self._new_module(cls), cls) for cls in used if cls is not named]
        for alias, each in pairs:
            _bind(alias, each)
        self.definitions.append(_dumps(pairs))
        return self._modules[key]

    def _new_module(self, key: Any) -> str:
        return self._modules.setdefault(key, f"{BY_VALUE}{len(self._modules) + 1}")


MAIN_VALUES: Final = MainValues()
"""Those of this process: there is one `__main__`, however many systems run."""


def take_definition(data: bytes) -> None:
    """Make the classes and functions of a definition on a node.

    Raises:
        Exception: whatever their code raises when it is run here, such as ImportError.
    """
    import cloudpickle  # noqa: PLC0415 - an extra

    for alias, named in cloudpickle.loads(data):
        named.__module__ = alias
        _bind(alias, named)


def _bind(alias: str, named: Any) -> None:
    """Have `alias` be a module in which *named* has its name."""
    module = sys.modules.get(alias)
    if module is None:
        module = sys.modules[alias] = ModuleType(alias, "What was typed, by value.")
    holder: Any = module
    *outer, name = named.__qualname__.split(".")
    for part in outer:
        inner = getattr(holder, part, None) or SimpleNamespace()
        setattr(holder, part, inner)
        holder = inner
    setattr(holder, name, named)


def _pickled(named: Any) -> tuple[bytes, list[type]]:
    """Return the bytes of a class or function, and the classes of `__main__` that are in them."""
    import cloudpickle  # noqa: PLC0415 - an extra

    used: dict[type, None] = {}

    class Collector(cloudpickle.Pickler):  # type: ignore[misc] # it has no types
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type) and obj.__module__ == "__main__":
                used[obj] = None
            return super().reducer_override(obj)

    out = io.BytesIO()
    try:
        Collector(out).dump(named)
    except Exception as error:
        raise Unsendable("", named, f"what it uses cannot be copied: {error}") from error
    return out.getvalue(), list(used)


def _dumps(pairs: list[tuple[str, Any]]) -> bytes:
    import cloudpickle  # noqa: PLC0415 - an extra

    data: bytes = cloudpickle.dumps(pairs)
    return data
