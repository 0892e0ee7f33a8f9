"""The arguments of each command, and their help; what a command does is in `client` and `server`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from actors._base.suggestions import did_you_mean
from actors.cli._failure import WRONG, CommandFailed

__all__ = ["COMMANDS", "TOP_ORDERS", "parse", "parser"]

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


_HANGUP: Final = (
    "SIGHUP starts a rolling reload, as `actors reload` does: one node after another is "
    "replaced by a new process that has the code on disk, and no request is lost."
)

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
    "--timeout-graceful-shutdown": "--shutdown SECONDS",
    "--graceful-timeout": "--shutdown SECONDS",
    "--timeout-keep-alive": "asgi(..., keep_alive=) in a topology",
    "--ws-max-size": "asgi(..., ws_max_size=) in a topology",
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
        "target", metavar="TARGET", help="pkg.mod:attr, a Topology or a function that returns one"
    )
    parser.add_argument(
        "--nodes",
        metavar="GROUP=COUNT",
        action="append",
        default=[],
        help="the number of nodes of a group, instead of that in the topology, or max: one for each "
        "usable CPU; repeatable",
    )
    parser.add_argument(
        "--preload",
        metavar="GROUP=MODULE",
        action="append",
        default=[],
        help="import MODULE once for all nodes of a group, beside those of the topology, so that what "
        "it loads is in memory once; repeatable",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: reload all process nodes when a source file changes; their actors "
        "are started again, and changes of the topology itself are ignored",
    )
    parser.epilog = _HANGUP


def _serve(parser: argparse.ArgumentParser) -> None:
    _serve_app(parser)
    address = parser.add_mutually_exclusive_group()
    address.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1:8000",
        help="HOST:PORT, [::]:PORT for IPv6 and IPv4, unix:/path or fd://NAME, an inherited socket "
        "(LISTEN_FDNAMES); default: %(default)s",
    )
    address.add_argument(
        "--fd",
        metavar="N",
        dest="bind",
        type="fd://{}".format,
        default=argparse.SUPPRESS,
        help="serve the listening socket inherited as this descriptor, from systemd or a shell",
    )
    parser.add_argument(
        "--nodes",
        metavar="COUNT",
        default="max",
        help="number of processes, or max: one for each usable CPU, the default",
    )
    _add_preload(parser)
    _serve_shares(parser)
    _serve_tls(parser)
    _serve_proxy(parser)
    _serve_end(parser)
    _serve_reload(parser)


def _add_preload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preload",
        metavar="MODULE",
        action="append",
        default=[],
        help="import MODULE once for all processes, so that what it loads is in memory once; repeatable",
    )


def _serve_shares(parser: argparse.ArgumentParser) -> None:
    shares = parser.add_mutually_exclusive_group()
    shares.add_argument(
        "--sticky",
        metavar="KEY",
        help="send all connections with the same key to one node: ip, proxy, sni, "
        "cookie:NAME (cookie:NAME:set sets it), query:NAME, header:NAME or path:SEGMENTS; "
        "a|b takes the first that is found",
    )
    shares.add_argument(
        "--policy",
        metavar="POLICY",
        help="least-connections (the default), round-robin, sticky=KEY, or reuse-port or "
        "shared-listener, where the kernel chooses",
    )


def _serve_proxy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--uds-permissions",
        metavar="MODE",
        type=_mode,
        help="the mode of the Unix socket, such as 660; default: that of a socket which is there "
        "already, or 666",
    )
    parser.add_argument(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        help="proxies whose X-Forwarded-* headers are believed, with commas between: addresses, "
        "networks, unix, or * for all; default: FORWARDED_ALLOW_IPS, or 127.0.0.1,::1. Those of a "
        "Unix socket that not every user may write to are believed",
    )


def _mode(text: str) -> int:
    """Read the mode of a file as `chmod` does."""
    return int(text, 8)


_mode.__name__ = "mode"  # argparse names it in its error


def _serve_end(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shutdown",
        metavar="SECONDS",
        type=float,
        help="seconds that a process has to finish its requests, when it is reloaded and when the "
        "service ends; default: 5, with --reload 1",
    )


def _serve_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", metavar="APP", help="pkg.mod:app, an ASGI application")
    parser.add_argument(
        "--factory",
        action="store_true",
        help="call APP without arguments, once per node, to get the application",
    )


def _serve_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--certfile",
        metavar="FILE",
        help="serve TLS with this certificate (PEM); a changed file is read again at once",
    )
    parser.add_argument(
        "--keyfile", metavar="FILE", help="its private key (PEM); default: CERTFILE"
    )


def _serve_reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: reload when a source file changes; if the new code fails, its "
        "traceback is shown and the old code goes on serving",
    )
    parser.epilog = _HANGUP


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pid",
        metavar="PID_OR_NAME",
        help="the process of the system, its name, or both as PID-NAME; needed if several of yours run",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print once and exit")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=float,
        default=1.0,
        help="seconds between two outputs; default: %(default)g",
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        type=int,
        default=20,
        help="number of actors shown; default: %(default)s",
    )
    parser.add_argument(
        "--sort",
        choices=TOP_ORDERS,
        default="mailbox",
        help="which actors come first; default: %(default)s, those with most messages waiting",
    )
    parser.epilog = (
        "LAG is the longest delay of the node's event loop. MESSAGES/S counts handled messages. "
        "HANDLING is the method that runs, for how long, and the number of concurrent handlers."
    )
    _add_common(parser)


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--messages",
        action="store_true",
        help="show each message too, if the topology has trace=True",
    )
    _add_common(parser)


def _spawn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the new group")
    parser.add_argument(
        "--count", metavar="N", type=int, default=1, help="number of nodes; default: %(default)s"
    )
    parser.add_argument("--kind", choices=("process", "thread"), default="process")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable added to the environment of the system; repeatable",
    )
    _add_preload(parser)
    parser.add_argument(
        "--nice", metavar="N", type=int, default=0, help="added to the niceness of its processes"
    )
    _add_common(parser)


def _scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "groups", metavar="GROUP=COUNT", nargs="+", help="the new number of nodes of a group"
    )
    _add_common(parser)


def _reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "nodes",
        metavar="NODE_OR_GROUP",
        nargs="*",
        help="such as web/1 or web; default: all process nodes",
    )
    parser.add_argument(
        "--surge",
        action="store_true",
        help="boot all new processes before replacing the first: all are replaced, or none",
    )
    parser.add_argument(
        "--ready-timeout",
        metavar="SECONDS",
        type=float,
        help="time limit for a new process to get ready; default: boot_timeout of its group",
    )
    _add_common(parser)


def _stop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "node",
        metavar="NODE",
        nargs="?",
        help="stop this node alone, such as web/1; it is not restarted",
    )
    _add_common(parser)


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="such as web/1")
    _add_common(parser)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", help="bash, zsh, fish, tcsh or powershell")
    parser.epilog = 'In ~/.bashrc: eval "$(actors completion bash)"'


COMMANDS: Final[dict[str, tuple[str, Any]]] = {
    "run": ("run a topology in the foreground", _run),
    "serve": ("serve an ASGI application over several processes", _serve),
    "ps": ("show the nodes and listeners of the running system", _add_common),
    "tree": ("show the supervision tree of the running system", _add_common),
    "top": ("show the nodes and the busiest actors of the running system, repeatedly", _top),
    "events": ("print the events of the running system as they happen, one line each", _events),
    "stack": ("show the stacks of the threads and tasks of a node, even if it hangs", _node),
    "spawn": ("add a group of nodes to the running system, and wait until they are ready", _spawn),
    "scale": ("change the number of nodes of a group, and wait until it is reached", _scale),
    "reload": (
        "replace nodes by new processes with new code, without losing a request",
        _reload,
    ),
    "stop": (
        "stop the running system or one of its nodes cleanly, and wait until it has ended",
        _stop,
    ),
    "kill": ("kill a node, which is then restarted", _node),
    "completion": ("print a script that lets a shell complete these commands", _completion),
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = _Parser(
        prog="actors",
        description=_DESCRIPTION,
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = whole.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for name, (summary, add) in COMMANDS.items():
        add(
            commands.add_parser(
                name,
                help=summary,
                description=f"{summary[0].upper()}{summary[1:]}.",
                allow_abbrev=False,
            )
        )
    return whole


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
    known, unknown = parser().parse_known_args(arguments)
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
