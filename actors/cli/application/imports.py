"""Checks what an application file names and only an import can tell: classes, their constructors, applications.

Rule: a command does that `in_fork`, in a process of its own: what a module does to the streams, folder and
threads of its process is none of the command's, and the process of a system stays free of users' modules.
"""

from __future__ import annotations

import functools
import json
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from typing import Any, Final

from actors._base.errors import InvalidSpec
from actors._system.application import BadField, Path
from actors._system.keyed_spec import keyed
from actors._system.tree_specs import child
from actors.cli._failure import CommandFailed
from actors.cli.application.file import ApplicationFile
from actors.cli.target import import_attribute

__all__ = ["check_imports", "in_fork"]

_CHUNK: Final = 64 * 1024
_PAUSE: Final = 50
"""Milliseconds between two looks at whether the process has ended."""


def check_imports(file: ApplicationFile, *, applications: bool) -> None:
    """Import what a file names.

    Args:
        file: the file, whose folder is on the import path.
        applications: whether those that are served, too.

    Raises:
        CommandFailed: something is not there, or is not what it has to be; the message has the line.
    """
    for path, check, target in _named(file.application.tables, applications=applications):
        try:
            found = import_attribute(target)
            check(found)
        except CommandFailed as error:
            raise file.failed(BadField(path, str(error))) from error
        except InvalidSpec as error:
            raise file.failed(
                BadField(path, str(error).partition(": ")[2] or str(error))
            ) from error


def _named(
    tables: Mapping[str, Any], *, applications: bool
) -> Iterator[tuple[Path, Callable[[Any], object], str]]:
    """Yield each import path, with where it is and what checks the object."""
    for table in ("children", "pools", "keyed"):
        for name, keys in tables.get(table, {}).items():
            if "class" in keys:
                make = keyed if table == "keyed" else child
                check = functools.partial(_check_class, make, keys)
                yield (table, name, "class"), check, keys["class"]
    for name, keys in tables.get("nodes", {}).items():
        if "ready" in keys:
            yield ("nodes", name, "ready"), _check_callable, keys["ready"]
    if applications:
        for name, keys in tables.get("listeners", {}).items():
            key = "app" if "app" in keys else "handler"
            yield ("listeners", name, key), _check_callable, keys[key]


def _check_class(make: Callable[..., Any], keys: Mapping[str, Any], cls: Any) -> None:
    """Refuse what is no actor class, or whose constructor does not take the arguments."""
    if not isinstance(cls, type):
        raise InvalidSpec(f": must be a class, got {cls!r}")
    make(functools.partial(cls, **keys.get("kwargs", {})), *keys.get("args", ()))


def _check_callable(found: Any) -> None:
    if not callable(found):
        raise InvalidSpec(f": must be something that can be called, got {found!r}")


def in_fork(check: Callable[[], object]) -> None:
    """Run *check* in a child process.

    Raises:
        CommandFailed: *check* raised it, or the process did not get to its end.
    """
    _flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _report(check, writing)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        said, status = _said(pipe, pid)
    if not said:
        raise CommandFailed(
            f"what the file names cannot be imported: the process that did it ended with {status}, "
            "and had not said how it went"
        )
    error = json.loads(said)
    if error is not None:
        raise CommandFailed(*error)


def _said(pipe: FileIO, pid: int) -> tuple[bytes, int]:
    """Return what the process has said, and its exit code; what it has started may hold the pipe for longer."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    said, ended, status = b"", 0, 0
    while not said.endswith(b"\n"):
        if not ended:
            ended, status = os.waitpid(pid, os.WNOHANG)
        if poll.poll(0 if ended else _PAUSE):
            data = pipe.read(_CHUNK)
            said += data
            if not data:
                break
        elif ended:
            break
    if not ended:
        _, status = os.waitpid(pid, 0)
    return said, os.waitstatus_to_exitcode(status)


def _report(check: Callable[[], object], writing: int) -> None:
    """Run *check*, write how it ended, and end the process."""
    with suppress(BaseException):  # the parent is told that nothing was said
        said: list[Any] | None = None
        try:
            check()
        except CommandFailed as error:
            said = [str(error), error.code]
        except BaseException as error:  # noqa: BLE001 - the parent is told
            said = [f"what the file names cannot be imported: {error!r}"]
        os.write(writing, json.dumps(said).encode() + b"\n")
    _flush()
    os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # they may be the user's own, closed or None
            stream.flush()
