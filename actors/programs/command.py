"""The command of a program: an argument list, never a shell's text, whose executable is there.

Rule: what cannot be started is refused with the reason before anything starts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors._base.errors import InvalidSpec
from actors._base.options import kernel_text_problem

__all__ = ["check_command", "command_problem", "filled"]


def check_command(where: str, option: str, command: object) -> tuple[str, ...]:
    """Return *command* as arguments.

    Raises:
        InvalidSpec: it is no list of texts, or has none.
    """
    if isinstance(command, str):
        raise InvalidSpec(
            f"{where}: {option} is a list of arguments, as no shell reads it: "
            f"{command.split()!r}, not {command!r}"
        )
    if not isinstance(command, Sequence) or not command:
        raise InvalidSpec(f"{where}: {option} must be a list of arguments, got {command!r}")
    for argument in command:
        if not isinstance(argument, str | os.PathLike):
            raise InvalidSpec(f"{where}: {option} has texts and paths, got {argument!r}")
        if problem := kernel_text_problem(str(os.fspath(argument))):
            raise InvalidSpec(f"{where}: {option} {problem}, got {argument!r}")
    arguments = tuple(str(os.fspath(argument)) for argument in command)
    if not arguments[0]:
        raise InvalidSpec(f"{where}: {option} names no program: {list(arguments)!r}")
    return arguments


def filled(text: str, slot: int, port: int | None) -> str:
    """Return *text* with ``{slot}`` and ``{port}`` replaced by those of an instance."""
    text = text.replace("{slot}", str(slot))
    return text if port is None else text.replace("{port}", str(port))


def command_problem(program: str, cwd: str | None, env: Mapping[str, str]) -> str:
    """Return why *program* cannot be executed, or an empty text.

    Args:
        program: a path, or a name that is looked for in the ``PATH`` of *env*.
        cwd: what a relative path is relative to; None is this process's own folder.
        env: the whole environment of the program.
    """
    if "/" not in program:
        path = env.get("PATH", os.defpath)
        found = shutil.which(program, path=path)
        return "" if found else f"there is no program {program!r} in PATH ({path})"
    file = Path(cwd or "") / program
    if not file.exists():
        return f"there is no program {str(file)!r}"
    if not file.is_file():
        return f"{str(file)!r} is no file"
    return "" if os.access(file, os.X_OK) else f"{str(file)!r} is not executable (chmod +x)"
