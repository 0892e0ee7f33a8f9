"""`--env-file`: variables from a file of lines ``NAME=VALUE``, as docker and systemd read them.

Rule: nothing is expanded, and what is set already stays.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from actors._base.options import env_problem
from actors._base.printable import printable
from actors.cli._failure import WRONG, CommandFailed

__all__ = ["load_variables", "variables_of"]


def load_variables(file: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables of *file* that are not set.

    Raises:
        CommandFailed: it cannot be read, or has a line that sets nothing.
    """
    shown = printable(file)
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"--env-file {shown}: {error}", WRONG) from error
    for name, value in variables_of(text, file).items():
        if problem := env_problem(name, value):
            raise CommandFailed(
                f"--env-file {shown}: it {problem}, got {printable(name)}={value!r}", WRONG
            )
        environ.setdefault(name, value)


def variables_of(text: str, file: str) -> dict[str, str]:
    """Return what lines set: ``NAME=VALUE``, maybe with quotes around the value and ``export`` in front.

    Raises:
        CommandFailed: a line is none of these, nor empty or a comment.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or " " in name:
            raise CommandFailed(
                f"--env-file {printable(file)}, line {number} is not NAME=VALUE: {line!r}", WRONG
            )
        if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        found[name] = value
    return found
