"""The arguments of each command, and their help; what a command does is in `client` and `server`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from actors.cli._failure import WRONG, CommandFailed, did_you_mean

__all__ = ["COMMANDS", "TOP_ORDERS", "parse"]

TOP_ORDERS: Final = ("mailbox", "handling", "rate", "restarts")
"""The orders of `actors top`: those of the engine, which is not imported here."""
_DESCRIPTION: Final = (
    "Run systems of supervised actors over processes, and inspect and control them."
)
_CODES: Final = """\
exit codes:
  0    done; ended by SIGTERM or `actors stop`
  1    it failed: the message says what
  2    the command was wrong
  3    no such system is running
  130  ended by Ctrl-C
"""


_OPTIONS_OF_OTHERS: Final = {
    "--workers": "--nodes COUNT",
    "-w": "--nodes COUNT",
    "--host": "--bind HOST:PORT",
    "--port": "--bind HOST:PORT",
    "-b": "--bind HOST:PORT",
    "--uds": "--bind unix:/path",
    "--ssl-certfile": "--certfile FILE",
    "--ssl-keyfile": "--keyfile FILE",
    "--root-path": "asgi(..., root_path=) in a topology",
    "--timeout-keep-alive": "asgi(..., keep_alive=) in a topology",
    "--ws-max-size": "asgi(..., ws_max_size=) in a topology",
    "--forwarded-allow-ips": "asgi(..., forwarded_allow_ips=) in a topology",
    "--limit-concurrency": "asgi(..., limit_concurrency=) in a topology",
    "--lifespan": "asgi(..., lifespan=) in a topology",
}
"""What uvicorn, gunicorn and hypercorn call our options; `actors serve` names ours in its error."""


class _Parser(argparse.ArgumentParser):
    """Raises its errors as `CommandFailed`."""

    def error(self, message: str) -> NoReturn:
        raise CommandFailed(f"{message} (see `{self.prog} --help`)", WRONG)


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for: that takes longer than all of `actors ps`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib import metadata  # noqa: PLC0415 - see above

        try:
            version = metadata.version("actors-framework")
        except metadata.PackageNotFoundError:
            version = "from a checkout"
        print(f"actors-framework {version}")
        parser.exit()


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="TARGET", help="pkg.mod:attr, a Topology or what makes one"
    )
    parser.add_argument(
        "--nodes",
        metavar="GROUP=COUNT",
        action="append",
        default=[],
        help="how many nodes a group has, instead of what the topology says; repeatable",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: reload all process nodes when a source file changes; their actors "
        "begin anew, and the topology stays as it is",
    )


def _serve(parser: argparse.ArgumentParser) -> None:
    _serve_app(parser)
    address = parser.add_mutually_exclusive_group()
    address.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:8000",
        help="HOST:PORT, [::]:PORT for IPv6 and IPv4, unix:/path or fd://NAME, a socket that was "
        "given (LISTEN_FDNAMES); %(default)s unless given",
    )
    address.add_argument(
        "--fd",
        metavar="N",
        dest="bind",
        type="fd://{}".format,
        default=argparse.SUPPRESS,
        help="serve the listening socket that was given as this descriptor, by systemd or a shell",
    )
    parser.add_argument(
        "--nodes",
        metavar="COUNT",
        default="max",
        help="how many processes, or max: as many as there are usable CPUs, the default",
    )
    shares = parser.add_mutually_exclusive_group()
    shares.add_argument(
        "--sticky",
        metavar="KEY",
        help="one key, one node: ip, proxy, sni, cookie:NAME (cookie:NAME:set gives clients one), "
        "query:NAME, header:NAME or path:SEGMENTS; chain with | for the first found",
    )
    shares.add_argument(
        "--policy",
        metavar="POLICY",
        help="least-connections (the default), round-robin, sticky=KEY, or reuse-port or "
        "shared-listener, where the kernel chooses",
    )
    _serve_tls(parser)
    _serve_reload(parser)


def _serve_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", metavar="APP", help="pkg.mod:app, an ASGI application")
    parser.add_argument(
        "--factory",
        action="store_true",
        help="APP is to be called without arguments, once per node, and returns the application",
    )


def _serve_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--certfile",
        metavar="FILE",
        help="serve TLS with this certificate (PEM); one that is replaced is used at once",
    )
    parser.add_argument(
        "--keyfile", metavar="FILE", help="its private key (PEM); CERTFILE unless given"
    )


def _serve_reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: reload when a source file changes; one that is broken shows its "
        "traceback, and the old code goes on serving",
    )
    parser.epilog = (
        "SIGHUP is a rolling reload, as `actors reload` is: node after node goes on as a new "
        "process with the code as it is on disk, and no request is lost."
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pid", metavar="PID", type=int, help="which system, where several of yours run"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print one table and end")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=float,
        default=1.0,
        help="how long each look takes; %(default)g unless given",
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        type=int,
        default=20,
        help="how many actors are shown; %(default)s unless given",
    )
    parser.add_argument(
        "--sort",
        choices=TOP_ORDERS,
        default="mailbox",
        help="which actors are the busiest; %(default)s, the most messages waiting, unless given",
    )
    parser.epilog = (
        "LAG is by how much the loop of the node was late at most. MESSAGES/S are those that were "
        "handled. HANDLING says what, since when, and how many concurrent handlers run beside it."
    )
    _add_common(parser)


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--messages",
        action="store_true",
        help="each message, too, in a system whose topology has trace=True",
    )
    _add_common(parser)


def _spawn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the new group")
    parser.add_argument(
        "--count", metavar="N", type=int, default=1, help="%(default)s unless given"
    )
    parser.add_argument("--kind", choices=("process", "thread"), default="process")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable beside the system's own environment; repeatable",
    )
    parser.add_argument(
        "--nice", metavar="N", type=int, default=0, help="added to the niceness of its processes"
    )
    _add_common(parser)


def _scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "groups", metavar="GROUP=COUNT", nargs="+", help="how many nodes a group is to have"
    )
    _add_common(parser)


def _reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "nodes",
        metavar="NODE_OR_GROUP",
        nargs="*",
        help="such as web/1 or web; all process nodes unless given",
    )
    parser.add_argument(
        "--surge",
        action="store_true",
        help="boot all new processes before the first takes over: all are renewed, or none",
    )
    parser.add_argument(
        "--ready-timeout",
        metavar="SECONDS",
        type=float,
        help="how long a new process may take to get ready, instead of its group's boot_timeout",
    )
    _add_common(parser)


def _stop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "node", metavar="NODE", nargs="?", help="stop only this node, such as web/1, for good"
    )
    _add_common(parser)


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="such as web/1")
    _add_common(parser)


COMMANDS: Final[dict[str, tuple[str, Any]]] = {
    "run": ("run a topology in the foreground", _run),
    "serve": ("serve an ASGI application over several processes", _serve),
    "ps": ("show nodes and listeners of the running system", _add_common),
    "tree": ("show its supervision tree", _add_common),
    "top": ("show what its nodes and busiest actors do, again and again", _top),
    "events": ("follow what happens in it, one line each", _events),
    "stack": ("show what the threads and tasks of a node are at, even if it hangs", _node),
    "spawn": ("add a group of nodes to it, and wait until they are ready", _spawn),
    "scale": ("change how many nodes a group has, and wait for that", _scale),
    "reload": ("renew the code of its nodes, one after another, without losing a request", _reload),
    "stop": ("stop it, or one of its nodes, cleanly, and wait until it is gone", _stop),
    "kill": ("kill one of its nodes, which is restarted", _node),
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        CommandFailed: a command or an option that does not exist, or a wrong value.
        SystemExit: help or the version was asked for and has been printed.
    """
    first = next(iter(arguments), "")
    if first and not first.startswith("-") and first not in COMMANDS:
        raise CommandFailed(
            f"there is no command {first!r}; the commands are {', '.join(COMMANDS)}"
            + did_you_mean(first, COMMANDS),
            WRONG,
        )
    parser = _Parser(
        prog="actors",
        description=_DESCRIPTION,
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for name, (summary, add) in COMMANDS.items():
        add(
            commands.add_parser(
                name, help=summary, description=f"{summary}.".capitalize(), allow_abbrev=False
            )
        )
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        command = f"actors {known.command}"
        ours = (
            _OPTIONS_OF_OTHERS.get(unknown[0].partition("=")[0])
            if known.command == "serve"
            else None
        )
        hint = f"; here that is {ours}" if ours else ""
        raise CommandFailed(
            f"`{command}` does not take {' '.join(unknown)!r}{hint} (see `{command} --help`)", WRONG
        )
    return known
