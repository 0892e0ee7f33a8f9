"""`actors completion SHELL`: prints the shell's completion script, which shtab makes of the parser.

The script knows commands, options and choices. Names of nodes and actors it asks the running system for.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from actors.cli._failure import FAILED, WRONG, CommandFailed
from actors.cli._parser import parser

try:
    import shtab
except ImportError:
    if not TYPE_CHECKING:
        shtab = None

__all__ = ["complete"]

_NODES: Final = "actors ps 2>/dev/null | sed -n '/^NODE /,/^$/{/^NODE /d;s/ .*//p;}'"
"""The first column of the first table of `actors ps`."""
_ACTORS: Final = (
    "actors tree 2>/dev/null | sed -n 's/^[^[:alnum:]_]*\\(.*\\)  (.* on .*)  .*/\\1/p'"
)
"""What stands before `(Class on node)` in the lines of `actors tree`."""
_BOTH: Final = f"{{ {_NODES}; {_ACTORS}; }}"
_COMMANDS: Final = {
    "NODE": _NODES,
    "NODE_OR_GROUP": _NODES,
    "ACTOR": _ACTORS,
    "NODE_OR_ACTOR": _BOTH,
}
"""What prints the values that an argument of this name may have."""


def complete(options: argparse.Namespace) -> None:
    """Print the script.

    Raises:
        CommandFailed: shtab is not installed, or does not know the shell.
    """
    if shtab is None:
        raise CommandFailed(
            "this needs shtab, of the extra `completion`: pip install 'actors-framework[completion]'",
            FAILED,
        )
    if options.shell not in shtab.SUPPORTED_SHELLS:
        known = ", ".join(shtab.SUPPORTED_SHELLS)
        raise CommandFailed(f"no shell {options.shell!r}; there are {known}", WRONG)
    whole = parser()
    for action in _actions(whole):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _COMMANDS:
            action.complete = shtab.cmd(_COMMANDS[str(action.metavar)])  # type: ignore[attr-defined]
    print(shtab.complete(whole, options.shell))


def _actions(of: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a parser and of its commands."""
    found = list(of._actions)  # noqa: SLF001 - argparse has no public way to them
    for action in of._actions:  # noqa: SLF001 - see above
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - see above
            for command in action.choices.values():
                found += _actions(command)
    return found
