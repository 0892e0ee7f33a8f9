"""The file that the user started as `__main__`: its classes work on process nodes.

A node imports that file under another name, on first use; its call of `actors.run` ends the import. A
`__main__` that is not a file (a REPL, stdin, `-c`) cannot be imported; its classes are refused by name.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder, SourcelessFileLoader
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from actors._base.errors import InvalidSpec
from actors._remoting.actor_host import MAIN_ALIAS
from actors._remoting.main_values import MAIN_VALUES, is_interactive

__all__ = ["MainImportEnded", "describe_main", "importing_main", "install_main", "main_problem"]


_PROMPTS: Final = ("<stdin>", "<console>", "<input", "<python-input", "<ipython-input", "<pyshell")


_STARTS_A_LOOP: Final = (
    "cannot be called from a running event loop",
    "Attempted to call run() from inside a run()",
    "Already running asyncio in this thread",
)
"""What `asyncio.run`, `trio.run` and `anyio.run` say in a thread that runs a loop."""


class MainImportEnded(BaseException):
    """Ends the import of a main file at its call of `actors.run`; not an error."""


_STATE: Final[dict[str, Any]] = {"main": None, "importing": False}


def describe_main() -> dict[str, str]:
    """Return how a node can import this process's main file; empty if it cannot."""
    main = sys.modules["__main__"]
    spec: ModuleSpec | None = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    if not file:
        return {}
    path = Path(file).resolve()
    if spec is not None and spec.name == "__main__":
        # `python FOLDER` or `python ARCHIVE`: Python looks for its `__main__` there.
        return {"file": str(path), "entry": str(path.parent)}
    if spec is not None and spec.name:
        return {"file": str(path), "module": spec.name}
    return {"file": str(path)} if path.is_file() else {}


def main_problem(named: Any) -> str:
    """Return why a class or function of `__main__` cannot go to another process, or an empty text."""
    if is_interactive():
        why = MAIN_VALUES.problem(named)
        return why and f"{why}: put it in a module"
    description = describe_main()
    if not description or _is_typed(named):
        return (
            "its __main__ is no file that another process could import (a REPL, stdin or -c): "
            "put it in a module"
        )
    found: Any = sys.modules["__main__"]
    for part in named.__qualname__.split("."):
        found = getattr(found, part, None)
    if found != named:
        return (
            f"its __main__ is not {description['file']}, which runs this program "
            "(a REPL, debugger or profiler, perhaps): put it in a module"
        )
    return ""


def _is_typed(named: Any) -> bool:
    """Return whether a function, or the methods of a class, come from no file, but from a prompt."""
    parts = (named, *vars(named).values()) if hasattr(named, "__dict__") else (named,)
    codes = (getattr(part, "__code__", None) for part in parts)
    files = [code.co_filename for code in codes if code is not None]
    # What libraries generate comes from "<string>" and the like.
    return any(name.startswith(_PROMPTS) for name in files)


def install_main(description: dict[str, str]) -> None:
    """Note where the parent's main file is; it is imported when one of its names is used."""
    _STATE["main"] = description
    placeholder = _LazyMain("__main__")
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
    module = ModuleType(MAIN_ALIAS)
    module.__file__ = description["file"]
    spec, code = _found(description)
    if "module" in description:
        module.__spec__ = spec
        module.__package__ = (
            description["module"].rpartition(".")[0] if spec is None else spec.parent
        )
    placeholder = sys.modules["__main__"]
    # Before it runs: it may import multiprocessing, which takes MAIN_ALIAS to be what `__main__` is then.
    sys.modules["__main__"] = sys.modules[MAIN_ALIAS] = module
    _STATE["importing"] = True
    try:
        exec(code, module.__dict__)  # noqa: S102 - this is what importing a file by its path is
    except MainImportEnded:
        pass  # everything above the call of `actors.run` is defined
    except BaseException as error:
        sys.modules["__main__"] = sys.modules[MAIN_ALIAS] = placeholder
        if isinstance(error, RuntimeError) and any(text in str(error) for text in _STARTS_A_LOOP):
            raise InvalidSpec(
                f"{module.__file__} starts its program while a node imports it for its classes: put "
                'that under `if __name__ == "__main__":`'
            ) from error
        raise
    finally:
        _STATE["importing"] = False
    return module


def _found(description: dict[str, str]) -> tuple[ModuleSpec | None, Any]:
    """Return how Python finds the main module, if it has a name, and its code."""
    spec = None
    if "entry" in description:
        spec = PathFinder.find_spec("__main__", [description["entry"]])
    elif "module" in description:
        spec = find_spec(description["module"])
    loader: Any = None if spec is None else spec.loader
    if spec is not None and hasattr(loader, "get_code"):
        return spec, loader.get_code(spec.name)
    file = description["file"]
    data = Path(file).read_bytes()
    if data.startswith(MAGIC_NUMBER):  # `python app.pyc`
        return spec, SourcelessFileLoader(MAIN_ALIAS, file).get_code(MAIN_ALIAS)
    # Without the future statements of this file, which `compile` would add to those of that one.
    return spec, compile(data, file, "exec", dont_inherit=True)
