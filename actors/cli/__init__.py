"""The `actors` command: runs systems in the foreground, and inspects and controls running ones.

Rule 1: the only package that reads a command line or prints for people.
Rule 2: a user's mistake is one message on standard error and an exit code, never a traceback of
ours. What the codes mean is in `_failure`.
Rule 3: only the commands that run a system, or read an application file, import the engine; `client` holds
the others.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from actors._base.platform import open_standard_descriptors
from actors._base.printable import printable
from actors.cli._failure import FAILED, CommandFailed
from actors.cli._parser import COMMANDS, parse
from actors.cli.client import COMMANDS as CLIENT_COMMANDS

__all__ = ["main"]

_INTERRUPTED: Final = 130
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Where the output goes, there is no room for it."""
_NEWLINE: Final = "\n"
_LOGGING: Final = ("join", "run", "serve")
"""The commands whose output is the log of a system, or of an agent."""
_FILES: Final = 64
"""Open files without which these do not begin: an event loop, or an import, that lacks one breaks anywhere."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv*, `sys.argv` unless given, and return the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    open_standard_descriptors()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may have letters that it has not
    try:
        _run_command(arguments)
        sys.stdout.flush()
    except CommandFailed as error:
        print(_message(arguments, error), file=sys.stderr)
        return error.code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return FAILED
    except OSError as error:
        failed = _as_failed(error, logging=arguments[0] in _LOGGING)
        if failed is None:
            raise
        with suppress(OSError):
            print(_message(arguments, failed), file=sys.stderr)
        return failed.code
    return 0


def _as_failed(error: OSError, *, logging: bool) -> CommandFailed | None:
    """Return the error of a command that lacks what no code of ours can give it; None for another one."""
    if error.errno == errno.EMFILE:
        from actors._base.open_files import with_limit  # noqa: PLC0415 - nothing else here needs it

        return CommandFailed(with_limit(error))
    if error.errno not in _FULL or logging:
        return None
    _drop_output()
    return CommandFailed(f"the output cannot be written: {error.strerror}")


def _drop_output() -> None:
    """Have what is still to be written go nowhere: the interpreter's own flush at its end would fail, too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_command(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    command = CLIENT_COMMANDS.get(options.command)
    if options.command == "completion":
        from actors.cli.completion import complete as command  # noqa: PLC0415 - rule 3
    elif options.command == "top":
        from actors.cli.top import top as command  # noqa: PLC0415 - rule 3
    elif options.command == "bench":
        from actors.cli.bench import bench as command  # noqa: PLC0415 - rule 3
    if command is None:
        _run_engine(arguments, options)
    else:
        command(options)


def _run_engine(arguments: Sequence[str], options: Namespace) -> None:
    from actors._base.open_files import most_open_files  # noqa: PLC0415 - rule 3
    from actors._base.own_output import output_to_log, say  # noqa: PLC0415 - rule 3
    from actors.cli.server import COMMANDS as ENGINE_COMMANDS  # noqa: PLC0415 - rule 3

    command = ENGINE_COMMANDS[options.command]
    if options.command not in _LOGGING:
        command(options)
        return
    most = most_open_files()
    if most is not None and most < _FILES:
        raise CommandFailed(
            f"this process may have {most} files open (RLIMIT_NOFILE), and it needs {_FILES} at least: "
            "see `ulimit -n`"
        )
    try:
        with output_to_log():  # before the user's modules are imported, which may keep it
            command(options)
    except CommandFailed as error:
        say(_message(arguments, error))
        raise SystemExit(error.code) from error


def _message(arguments: Sequence[str], error: CommandFailed) -> str:
    name = f"actors {arguments[0]}" if arguments and arguments[0] in COMMANDS else "actors"
    return f"{name}: error: {printable(str(error), keep=_NEWLINE)}"
