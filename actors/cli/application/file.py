"""Reads an application file: its text, profile and variables, with a line for every error."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Final

from actors._base.printable import printable
from actors._base.suggestions import did_you_mean
from actors._system.application import Application, BadField, Path, Tables, build
from actors.cli._failure import WRONG, CommandFailed
from actors.cli.application.positions import Lines, line_of, lines_of
from actors.cli.application.variables import MissingVariable, expanded

__all__ = ["DEFAULT_FILE", "ApplicationFile", "check_profiles", "read_application"]

DEFAULT_FILE: Final = "actors.toml"
_LARGEST: Final = 1024 * 1024
_NO_FILE: Final = "; what a module has is checked when it is run: this reads an application file"
"""Bytes."""
_AT: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class ApplicationFile:
    """A file that was read.

    Attributes:
        name: as it was given.
        profile: the one that was chosen; "" for none.
        lines: where its tables and keys are.
        application: what it describes.
    """

    name: str
    profile: str
    lines: Lines
    application: Application

    @property
    def folder(self) -> FilePath:
        """The folder that it is in, from which modules are imported."""
        return FilePath(self.name).absolute().parent

    def failed(self, error: BadField) -> CommandFailed:
        """Return an error as the command's."""
        return _failed(self.name, self.lines, error)


def read_application(
    name: str, profile: str | None, environ: Mapping[str, str] = os.environ
) -> ApplicationFile:
    """Read and check an application file.

    Args:
        name: of the file.
        profile: whose tables override the others; None is none.
        environ: the values of variables.

    Raises:
        CommandFailed: it cannot be read, or something in it is wrong; the message has the line.
    """
    text = _read(name)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT.search(str(error))
        line = f":{at[1] or text.count(chr(10)) + 1}" if at else ""
        raise CommandFailed(f"{printable(name)}{line}: {_AT.sub('', str(error))}", WRONG) from error
    except RecursionError as error:
        raise CommandFailed(
            f"{printable(name)}: its values are too deep inside each other", WRONG
        ) from error
    lines = lines_of(text)
    try:
        chosen = _with_profile(tables, profile, lines)
        return ApplicationFile(
            name, profile or "", lines, build(expanded(chosen, environ), _order(lines))
        )
    except BadField as error:
        raise _failed(name, lines, error) from error


def check_profiles(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """Check a file, which was read before, with each of its profiles.

    Raises:
        CommandFailed: something is wrong, other than a variable that is not set here.
    """
    for profile in tomllib.loads(_read(name)).get("profiles", {}):
        try:
            read_application(name, profile, environ)
        except CommandFailed as error:
            if not isinstance(error.__cause__, MissingVariable):
                raise


def _read(name: str) -> str:
    shown = printable(name)
    try:
        with FilePath(name).open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise CommandFailed(f"{shown}: an application file has at most {_LARGEST} bytes", WRONG)
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        module = "" if name.endswith(".toml") or ":" not in name else _NO_FILE
        raise CommandFailed(f"there is no file {shown}{module}", WRONG) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{shown} cannot be read: {error}", WRONG) from error


def _failed(name: str, lines: Lines, error: BadField) -> CommandFailed:
    line = line_of(lines, error.path)
    return CommandFailed(f"{printable(name)}{'' if line is None else f':{line}'}: {error}", WRONG)


def _order(lines: Lines) -> list[Path]:
    """Return the tables with names, in the order of the file."""
    return sorted((path for path in lines if len(path) == 2), key=lambda path: lines[path])  # noqa: PLR2004 - a table and a name


# -- profiles ----------------------------------------------------------------------------------------


def _with_profile(tables: Tables, profile: str | None, lines: Lines) -> Tables:
    """Return the tables without their profiles, overridden by the one that was chosen.

    The lines of what it overrides are those of the profile from here on.
    """
    own = dict(tables)
    profiles = own.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(
        isinstance(one, dict) for one in profiles.values()
    ):
        raise BadField(("profiles",), "must be tables with names, such as [profiles.production]")
    if profile is None:
        return own
    if profile not in profiles:
        known = ", ".join(map(repr, profiles)) or "none"
        hint = did_you_mean(profile, profiles)
        raise CommandFailed(f"there is no profile {profile!r}; there are {known}{hint}", WRONG)
    chosen = ("profiles", profile)
    for path, line in list(lines.items()):
        # A table that is there already keeps its place in the order.
        if path[:2] == chosen and (len(path) > 4 or path[2:] not in lines):  # noqa: PLR2004 - a key of a table
            lines[path[2:]] = line
    return _merged(own, profiles[profile])


def _merged(base: Tables, over: Tables) -> Tables:
    """Return *base* with what *over* has in its place; tables are merged, all else is replaced."""
    both = {
        key: _merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return base | over | both
