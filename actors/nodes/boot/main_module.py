"""The file that the user started as `__main__`: its classes work on process nodes.

A node imports that file under another name, on first use; its call of `actors.run` ends the import. A
`__main__` that is no file (a REPL, stdin, `-c`) cannot be imported; its classes are refused by name.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from actors._base.errors import InvalidSpec
from actors._remoting.actor_host import MAIN_ALIAS

__all__ = ["MainImportEnded", "describe_main", "importing_main", "install_main", "main_problem"]


class MainImportEnded(BaseException):
    """Ends the import of a main file at its call of `actors.run`; not an error."""


_STATE: Final[dict[str, Any]] = {"main": None, "importing": False}


def describe_main() -> dict[str, str]:
    """Return how a node can import this process's main file; empty if it cannot."""
    main = sys.modules["__main__"]
    spec: ModuleSpec | None = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    if spec is not None and spec.name and file:
        return {"module": spec.name, "file": str(Path(file).resolve())}
    if file and Path(file).is_file():
        return {"file": str(Path(file).resolve())}
    return {}


def main_problem() -> str:
    """Return why classes of `__main__` cannot go to another process, or nothing."""
    if describe_main():
        return ""
    return "its __main__ is no file that another process could import (a REPL, stdin or -c): put it in a module"


def install_main(description: dict[str, str]) -> None:
    """Note where the parent's main file is; it is imported when one of its names is used."""
    _STATE["main"] = description
    placeholder = _LazyMain("__main__")
    placeholder.__dict__.update(__actors_node__=True)
    sys.modules["__main__"] = placeholder


def importing_main() -> bool:
    """Return whether a node is importing a main file right now."""
    return bool(_STATE["importing"])


class _LazyMain(ModuleType):
    """Stands for `__main__` in a node until one of its names is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_load_main(), name)


def _load_main() -> ModuleType:
    description = _STATE["main"]
    if not description:
        raise InvalidSpec("the parent's __main__ is no file that a node could import")
    file = description["file"]
    module = ModuleType(MAIN_ALIAS)
    module.__file__ = file
    code = compile(Path(file).read_bytes(), file, "exec")
    if "module" in description:
        spec = find_spec(description["module"])
        module.__spec__ = spec
        module.__package__ = (
            description["module"].rpartition(".")[0] if spec is None else spec.parent
        )
    sys.modules[MAIN_ALIAS] = module
    _STATE["importing"] = True
    try:
        exec(code, module.__dict__)  # noqa: S102 - this is what importing a file by its path is
    except MainImportEnded:
        pass  # everything above the call of `actors.run` is defined
    except BaseException:
        del sys.modules[MAIN_ALIAS]
        raise
    finally:
        _STATE["importing"] = False
    sys.modules["__main__"] = module
    return module
