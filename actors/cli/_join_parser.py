"""The arguments of `actors join`, and their help."""

from __future__ import annotations

import argparse

from actors.cli._serve_parser import add_log_level

__all__ = ["join_arguments"]


def join_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `actors join`."""
    parser.add_argument(
        "parent", metavar="HOST:PORT", help="where the system is: what it has as reach="
    )
    parser.add_argument(
        "--secret-file",
        metavar="FILE",
        required=True,
        help="the secret that the system has as join_secret=; only its owner and group can read the file",
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="a name that no two agents have at the same time, such as that of a pod of a StatefulSet: whoever "
        "comes under it again proves that the one before has ended; default: one that is made up",
    )
    _add_place(parser)
    _add_tls(parser)
    add_log_level(parser)
    parser.epilog = (
        "It stays when the system ends, and joins the next one. SIGTERM lets its nodes finish what they have. "
        "Exit code 78: the system refuses it, and the last line says why."
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="for groups with on={'labels': {...}}; repeatable",
    )
    parser.add_argument(
        "--address",
        metavar="HOST",
        default="",
        help="an address of this machine by which nodes of others reach its nodes; default: the one from "
        "which it has reached the system",
    )
    parser.add_argument(
        "--health",
        metavar="[HOST:]PORT",
        help="serve /live and /ready there, for probes; HOST is 0.0.0.0 if not given",
    )


def _add_tls(parser: argparse.ArgumentParser) -> None:
    tls = parser.add_argument_group("an authority of your own, if the system has tls=")
    tls.add_argument("--ca", metavar="FILE", help="the certificates of the authority")
    tls.add_argument("--certificate", metavar="FILE", help="that of this machine, signed by it")
    tls.add_argument("--key", metavar="FILE", help="the private key of the certificate")
    tls.add_argument(
        "--server-name",
        metavar="NAME",
        help="the name that certificates of the system are for; default: the host that is dialled",
    )
