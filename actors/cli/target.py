"""Imports the Topology that `pkg.mod:attr` names.

Rule: an error quotes what is wrong in the target; what the user's code raised is shown without frames of ours.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from actors._base.options import absolute_path
from actors._base.slow_imports import timed_import
from actors._base.suggestions import did_you_mean
from actors._base.user_traceback import is_ours
from actors._system.topology import Topology
from actors.cli._failure import WRONG, CommandFailed

__all__ = ["current_folder", "import_attribute", "import_from_here", "load_topology"]

_PACKAGE: Final = Path(__file__).parents[1]
_LONGEST_REPR: Final = 80


def current_folder() -> Path:
    """Return the current folder.

    Raises:
        CommandFailed: it was removed.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise CommandFailed("the current folder is gone: go to one that is there") from error


def import_from_here(folder: str | None = None) -> None:
    """Put a folder first on the import path: the current one unless given, as `python -m` does.

    Raises:
        CommandFailed: there is no such folder, or it was deleted, or a module there is named `actors`: nodes
            would import it instead of this package.
    """
    here = current_folder() if folder is None else Path(absolute_path(folder))
    if not here.is_dir():
        raise CommandFailed(f"--app-dir {folder}: there is no such folder", WRONG)
    for found in (here / "actors.py", here / "actors" / "__init__.py"):
        if found.exists() and not found.samefile(_PACKAGE / "__init__.py"):
            raise CommandFailed(
                f"{found} hides the package 'actors' of actors-framework: rename it", WRONG
            )
    if sys.path[:1] not in ([""], [str(here)]):
        sys.path.insert(0, str(here))


def load_topology(target: str) -> Topology:
    """Import *target*; return the topology that it is, or that it returns when called.

    Raises:
        CommandFailed: it is neither; the message says what it is.
    """
    return _topology(target, import_attribute(target))


def import_attribute(target: str) -> Any:
    """Import *target*, ``pkg.mod:attr``, and return the attribute.

    Raises:
        CommandFailed: there is none; the message says what is there.
    """
    module, names = _parse(target)
    found: Any = _import(module)
    where = module
    for number, name in enumerate(names):
        if not hasattr(found, name):
            raise CommandFailed(
                f"{where} has no attribute {name!r}" + _suggest_attribute(found, where, name), WRONG
            )
        found = getattr(found, name)
        where += f".{name}" if number else f":{name}"
    return found


def _parse(target: str) -> tuple[str, list[str]]:
    """Return the module of *target*, and the names of the attribute in it."""
    module, colon, attribute = target.partition(":")
    names = attribute.split(".")
    if colon and all(name.isidentifier() for name in [*module.split("."), *names]):
        return module, names
    hint = ""
    if target.removesuffix(".py").replace("/", ".").replace(".", "").isidentifier():
        likely = target.removesuffix(".py").removeprefix("./").replace("/", ".")
        hint = f"; for instance {likely + ':topology'!r}"
    raise CommandFailed(f"TARGET must be 'pkg.mod:attr', got {target!r}{hint}", WRONG)


def _import(name: str) -> ModuleType:
    try:
        return timed_import(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise CommandFailed(f"{name} cannot be imported:\n{_user_traceback(error)}") from error
        raise CommandFailed(
            f"there is no module {missing!r} in {_here()} or among the installed ones"
            + _suggest_module(missing),
            WRONG,
        ) from error
    except SystemExit as error:
        raise CommandFailed(
            f"importing {name} ended the program (SystemExit: {error.code}): what it runs belongs "
            "under `if __name__ == '__main__'`"
        ) from error
    except Exception as error:
        raise CommandFailed(f"{name} cannot be imported:\n{_user_traceback(error)}") from error


def _here() -> str:
    """Return the folder that `import_from_here` has put first."""
    return next(iter(sys.path), "") or str(Path.cwd())


def _suggest_module(missing: str) -> str:
    parent, _, last = missing.rpartition(".")
    paths = getattr(sys.modules.get(parent), "__path__", None) if parent else [_here()]
    names = [found.name for found in pkgutil.iter_modules(paths or [])]
    return did_you_mean(last, names, f"{parent}." if parent else "")


def _suggest_attribute(owner: object, where: str, name: str) -> str:
    there = vars(owner) if hasattr(owner, "__dict__") else {}
    colon = ":" if isinstance(owner, ModuleType) else "."
    close = did_you_mean(name, [key for key in there if not key.startswith("_")], where + colon)
    topologies = [
        where + colon + key for key, value in there.items() if isinstance(value, Topology)
    ]
    if close or not topologies:
        return close
    return f"; the topologies there: {', '.join(topologies)}"


def _topology(target: str, found: Any) -> Topology:
    if isinstance(found, Topology):
        return found
    if not callable(found) or isinstance(found, type):
        raise CommandFailed(
            f"{target} must be a Topology or a function that makes one, got {_described(found)}",
            WRONG,
        )
    if _is_asgi(found):
        raise CommandFailed(
            f"{target} looks like an ASGI application, not like a Topology: "
            f"`actors serve {target}` serves it",
            WRONG,
        )
    if inspect.iscoroutinefunction(found):
        raise CommandFailed(
            f"{target} is async: a function that makes a Topology runs before any loop; "
            "write it with `def`",
            WRONG,
        )
    made = _call(target, found)
    if not isinstance(made, Topology):
        raise CommandFailed(f"{target}() must return a Topology, got {_described(made)}", WRONG)
    return made


def _is_asgi(found: Any) -> bool:
    try:
        return [*inspect.signature(found).parameters] == ["scope", "receive", "send"]
    except (TypeError, ValueError):
        return False


def _call(target: str, factory: Any) -> object:
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise CommandFailed(
            f"{target} is called without arguments, but takes {inspect.signature(factory)}", WRONG
        ) from error
    except ValueError:
        pass  # it has no signature to check: call it
    try:
        return factory()
    except Exception as error:
        frames = _user_frames(error)
        where = f"\n  at {frames[-1]}" if frames else ""
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        because = f"\n  because of {_short(cause)}" if cause is not None else ""
        raise CommandFailed(f"{target}() raised {_short(error)}{where}{because}") from error


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    text = repr(value)
    shown = text if len(text) <= _LONGEST_REPR else text[:_LONGEST_REPR] + "..."
    return f"{shown} ({type(value).__name__})"


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _user_frames(error: BaseException) -> list[str]:
    """Return where *error* passed through code that is not ours, as "file:line in name"."""
    frames = traceback.extract_tb(error.__traceback__)
    return [
        f"{frame.filename}:{frame.lineno} in {frame.name}"
        for frame in frames
        if not is_ours(frame.filename)
    ]


def _user_traceback(error: BaseException) -> str:
    """Return the traceback of *error* and of its causes, without frames of ours."""
    whole = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [whole]
    while pending:
        part = pending.pop()
        if part is None:
            continue
        kept = [frame for frame in part.stack if not is_ours(frame.filename)]
        part.stack = traceback.StackSummary.from_list(kept)
        pending += [part.__cause__, part.__context__]
    return "".join(whole.format()).rstrip()
