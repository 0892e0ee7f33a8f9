"""The commands of application files."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from actors._base.printable import printable
from actors.cli._failure import WRONG, CommandFailed
from actors.cli.application.file import ApplicationFile, check_profiles, read_application
from actors.cli.application.foreign_apps import read_foreign
from actors.cli.application.imports import check_imports, in_fork
from actors.cli.application.nginx import upstreams_of
from actors.cli.application.schema import application_schema
from actors.cli.application.show import as_changes, as_done, as_topology
from actors.cli.application.toml_text import as_toml
from actors.cli.application.units import units_of
from actors.cli.client import as_json, connect
from actors.cli.target import import_from_here

__all__ = ["COMMANDS"]

_CHANGE: Final = 3600.0
"""Seconds that one change may take; the system has its own, shorter limits."""
_STDOUT: Final = 1
_STDERR: Final = 2
_PLANNING: Final = 30.0
_LONGEST_REQUEST: Final = 64 * 1024
"""Bytes that the system reads."""


def _check(options: Namespace) -> None:
    file = _checked(options)
    check_profiles(file.name)
    if options.json:
        print(as_json(file.application.tables))
    else:
        print(
            f"{printable(file.name)} is right; it would start\n\n{as_topology(file.application.topology)}"
        )


def _checked(options: Namespace) -> ApplicationFile:
    file = read_application(options.file, options.profile)
    import_from_here(str(file.folder))
    in_fork(partial(_check_imports, file))
    return file


def _check_imports(file: ApplicationFile) -> None:
    """Import what the file names; what that prints is none of the command's output."""
    os.dup2(_STDERR, _STDOUT)
    check_imports(file, applications=True)


def _apply(options: Namespace) -> None:
    file = _checked(options)
    request = {
        "tables": file.application.tables,
        "order": [list(path) for path in file.application.order],
    }
    if len(json.dumps(request)) > _LONGEST_REQUEST - 4096:
        raise CommandFailed(
            f"{printable(file.name)} is too large: with {_LONGEST_REQUEST} bytes it ends"
        )
    with closing(connect(options.pid)) as system:
        planned = system.ask("apply", timeout=_PLANNING, **request)
    changes = planned["changes"]
    if options.json and options.dry_run:
        print(as_json(planned))
        return
    print(as_changes(changes, planned["parts"]), flush=True)
    if not changes or options.dry_run:
        return
    serving = [one for one in changes if one["serves"]]
    if not serving or options.stop_serving:
        _confirm(options)
    with closing(connect(system.label)) as system:
        done = system.lines(
            "apply",
            wait=_CHANGE,
            **request,
            expected=changes,
            stop_serving=options.stop_serving,
        )
        next(done)
        for number in done:
            print(as_done(changes[number["done"]]), flush=True)


def _confirm(options: Namespace) -> None:
    """Ask whether the changes are to be made.

    Raises:
        CommandFailed: they are not, or there is nobody to ask.
    """
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask: --yes makes the changes", WRONG)
    print("make these changes? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandFailed("nothing was changed")


def _schema(_options: Namespace) -> None:
    print(as_json(application_schema()))


def _import(options: Namespace) -> None:
    made = read_foreign(options.file, options.format)
    _write(options.output, as_toml(made.tables))
    for note in made.notes:
        print(printable(note), file=sys.stderr)


def _unit(options: Namespace) -> None:
    file = read_application(options.file, options.profile)
    name = options.name or file.folder.name
    units = units_of(file, name, options.user, socket=options.socket)
    for unit, text in units.items():
        if options.output == "-":
            print(f"# {unit}\n{text}")
        else:
            _write(str(Path(options.output) / unit), text)


def _export(options: Namespace) -> None:
    text = upstreams_of(read_application(options.file, options.profile).application.topology)
    if not text:
        raise CommandFailed("nothing in the file has an address that nginx can reach", WRONG)
    print(text, end="")


def _write(name: str, text: str) -> None:
    """Write a file that is not there yet; - is standard output."""
    if name == "-":
        print(text, end="")
        return
    try:
        with Path(name).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise CommandFailed(f"{printable(name)} is there already", WRONG) from error
    except OSError as error:
        raise CommandFailed(f"{printable(name)} cannot be written: {error}") from error
    print(f"{printable(name)} was written")


COMMANDS: Final[Mapping[str, Callable[[Namespace], Any]]] = {
    "check": _check,
    "apply": _apply,
    "schema": _schema,
    "import": _import,
    "unit": _unit,
    "export": _export,
}
