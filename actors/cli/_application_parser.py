"""The arguments of the commands for application files, and their help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

__all__ = [
    "FILE_FORMATS",
    "apply_arguments",
    "check_arguments",
    "export_arguments",
    "import_arguments",
    "profile_argument",
    "schema_arguments",
    "unit_arguments",
]

FILE_FORMATS: Final = ("procfile", "oxfile", "pm2")
"""What `actors import` reads."""


def profile_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses a profile."""
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="have the tables below [profiles.NAME] override the others",
    )


def _file(parser: argparse.ArgumentParser, default: str = "actors.toml") -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default=default, help="default: %(default)s"
    )
    profile_argument(parser)


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `actors check`."""
    _file(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the tables as JSON, with profile and variables"
    )
    parser.epilog = (
        "Classes and applications are imported, and every profile is checked; nothing is started. "
        "It exits with 0 if the file is right, and with 2 if it is not."
    )


def apply_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `actors apply`."""
    _file(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="show the changes, and make none of them"
    )
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask before the changes")
    parser.add_argument(
        "--stop-serving",
        action="store_true",
        help="also close or reopen listeners, and stop groups that serve them: clients notice",
    )
    parser.epilog = (
        "What is in both, the running system and the file, goes on without a restart. What neither the "
        "file nor the one before it has, such as actors that programs have spawned, is left alone."
    )


def import_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `actors import`."""
    parser.add_argument(
        "file", metavar="FILE", help="a Procfile, an oxfile, or an ecosystem file of PM2 as JSON"
    )
    parser.add_argument(
        "--format", choices=FILE_FORMATS, help="what it is; by its name unless given"
    )
    _output(parser, "actors.toml", ("--output", "-o"))
    parser.epilog = "What could not be carried over is printed, a line each."


def unit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `actors unit`."""
    _file(parser)
    parser.add_argument(
        "--name", metavar="NAME", help="of the service; that of the file's folder unless given"
    )
    parser.add_argument("--user", metavar="USER", help="whose service it is; root's unless given")
    parser.add_argument(
        "--socket",
        action="store_true",
        help="have systemd own the sockets of the listeners: clients wait during a restart",
    )
    _output(parser, "-", ("--output", "-o"), what="folder to write the units into")


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `actors export`."""
    parser.add_argument("format", metavar="FORMAT", choices=("nginx",), help="nginx: upstreams")
    _file(parser)


def schema_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `actors schema`: none."""
    parser.epilog = (
        "An editor that knows it completes and checks a file which begins with the line "
        "`#:schema actors.schema.json`."
    )


def _output(
    parser: argparse.ArgumentParser,
    default: str,
    options: Sequence[str],
    what: str = "file to write, which must not exist; - is standard output",
) -> None:
    parser.add_argument(
        *options, metavar="FILE", default=default, help=f"{what}; default: %(default)s"
    )
