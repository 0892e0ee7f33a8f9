"""The arguments of each command, and their help; what a command does is in `client` and `server`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from actors._base.suggestions import did_you_mean
from actors._base.version import installed_version, which_twins
from actors.cli._application_parser import (
    apply_arguments,
    check_arguments,
    export_arguments,
    import_arguments,
    profile_argument,
    schema_arguments,
    unit_arguments,
)
from actors.cli._failure import WRONG, CommandFailed
from actors.cli._join_parser import join_arguments
from actors.cli._serve_answers import answer_to_option
from actors.cli._serve_parser import add_log, add_options, from_environment
from actors.cli._top_parser import TOP_ORDERS, top_arguments

__all__ = ["COMMANDS", "TOP_ORDERS", "parse", "parser"]

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

_VARIABLES: Final = (
    "Each option has an environment variable, such as ACTORS_SERVE_BIND or ACTORS_SERVE_NODES; the "
    "command line wins."
)


class _Parser(argparse.ArgumentParser):
    """Raises its errors as `CommandFailed`."""

    def error(self, message: str) -> NoReturn:
        raise CommandFailed(f"{message} (see `{self.prog} --help`)", WRONG)


class _ShowVersion(argparse.Action):
    """Looks the version up only when it is asked for: that takes longer than all of `actors ps`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"actors-framework {installed_version()}")
        print(which_twins())
        parser.exit()


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        default="actors.toml",
        help="pkg.mod:attr, a Topology or a function that returns one; or an application file, FILE.toml; "
        "default: %(default)s",
    )
    profile_argument(parser)
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
    _add_reload_files(parser)
    add_log(parser)
    _add_admin(parser)
    parser.epilog = _HANGUP


def _serve(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument(
        "--reload",
        action="store_true",
        help="for development: reload when a source file changes; if the new code fails, its "
        "traceback is shown and the old code goes on serving",
    )
    _add_reload_files(parser)
    _add_admin(parser)
    parser.epilog = f"{_HANGUP} {_VARIABLES}"


def _add_admin(parser: argparse.ArgumentParser) -> None:
    admin = parser.add_argument_group("health, metrics and the dashboard")
    admin.add_argument(
        "--admin",
        metavar="ADDRESS",
        help="serve /healthz, /readyz, /metrics and the dashboard there, such as 127.0.0.1:9000 or "
        "unix:PATH; `actors admin` shows the address of the dashboard",
    )
    admin.add_argument("--admin-certfile", metavar="FILE", help="TLS; needed beyond this machine")
    admin.add_argument("--admin-keyfile", metavar="FILE", help="default: the certfile")
    admin.add_argument(
        "--admin-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name under which browsers ask, beside addresses and localhost; repeatable",
    )
    _add_alerts(parser)


def _add_alerts(parser: argparse.ArgumentParser) -> None:
    alerts = parser.add_argument_group("alerts")
    alerts.add_argument(
        "--alert",
        metavar="WHAT=LIMIT",
        action="append",
        default=[],
        help="tell when this is crossed: lag=SECONDS of a node, mailbox=MESSAGES of an actor, memory=MIB of a "
        "node, or restarts=NUMBER within a minute; repeatable",
    )
    alerts.add_argument(
        "--alert-command",
        metavar="COMMAND",
        help="run this then, with the facts as JSON in ACTORS_ALERT; no shell reads it",
    )
    alerts.add_argument("--alert-webhook", metavar="URL", help="post the facts there as JSON")


def _add_reload_files(parser: argparse.ArgumentParser) -> None:
    for options, metavar, text in (
        (
            "--reload-dir --reload-paths",
            "DIR",
            "watch the files of this folder instead of the current one",
        ),
        (
            "--reload-include --reload-extra-file",
            "PATTERN",
            "watch these files, or this folder, beside *.py",
        ),
        (
            "--reload-exclude --reload-ignore-dirs --reload-ignore-paths --reload-ignore-patterns",
            "PATTERN",
            "do not watch these files and folders",
        ),
    ):
        parser.add_argument(
            *options.split(),
            metavar=metavar,
            action="append",
            default=[],
            help=f"{text}; repeatable",
        )
    parser.add_argument(
        "--reload-delay",
        metavar="SECONDS",
        type=float,
        help="how often files are looked at; default: 0.4, or as soon as they change and every 2 "
        "where watchfiles is installed",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pid",
        metavar="PID_OR_NAME",
        help="the process of the system, its name, or both as PID-NAME; needed if several of yours run",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _top(parser: argparse.ArgumentParser) -> None:
    top_arguments(parser)
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
    parser.add_argument("--kind", choices=("process", "thread", "interpreter"), default="process")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable added to the environment of the system; repeatable",
    )
    parser.add_argument(
        "--preload",
        metavar="MODULE",
        action="append",
        default=[],
        help="import MODULE once for all processes, so that what it loads is in memory once; repeatable",
    )
    parser.add_argument(
        "--nice", metavar="N", type=int, default=0, help="added to the niceness of its processes"
    )
    _add_common(parser)


def _scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "groups",
        metavar="GROUP=COUNT",
        nargs="+",
        help="the new number of nodes of a group, or of instances of a program",
    )
    _add_common(parser)


def _reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "nodes",
        metavar="NODE_OR_GROUP",
        nargs="*",
        help="such as web/1 or web, or a program such as api or api/0; default: all process nodes",
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


_PATTERN: Final = (
    "a node such as web/1; a program such as api, or api/0 of it; or actors, by a name or a pattern such as "
    "'room-*'. The name of a node means the node, unless --actor is given"
)


def _stop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        metavar="NODE_OR_ACTOR",
        nargs="?",
        help=f"stop this alone: {_PATTERN}. It is not restarted",
    )
    _add_actor(parser)
    _add_common(parser)


def _some(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NODE_OR_ACTOR", help=_PATTERN)
    _add_actor(parser)
    _add_common(parser)


def _add_actor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--actor", action="store_true", help="the actors of that name, even if it is a node's"
    )


_JSON_HELP: Final = (
    "an argument as JSON, such as 5, true, '\"text\"' or '{\"price\": 1}', or by name as key=JSON"
)


def _ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="ACTOR", help="the name of an actor or a pool")
    parser.add_argument("method", metavar="METHOD", help="one of its messages")
    parser.add_argument("args", metavar="JSON", nargs="*", help=_JSON_HELP)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="seconds for the reply, or for each item of a stream; default: %(default)g",
    )
    parser.epilog = (
        "The actor's node makes the arguments of the types that the method is annotated with: numbers, text, "
        "dates as ISO text, bytes as base64, enums by value or name, dataclasses and models by their fields. "
        "A stream prints one line per item."
    )
    _add_common(parser)


def _state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="ACTOR", help="the name of an actor")
    parser.epilog = (
        "It shows what the actor's hook on_inspect returns; unless the class has one, the names, types and "
        "lengths of its attributes, and no values."
    )
    _add_common(parser)


def _trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="ACTOR", help="the name of an actor")
    parser.add_argument(
        "--rate",
        metavar="N",
        type=int,
        default=100,
        help="most lines a second; how many messages there were beside them is said; default: %(default)s",
    )
    _add_common(parser)


def _start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "supervisor",
        metavar="SUPERVISOR",
        help="path of a supervisor, such as guests or outer/inner",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="pkg.mod:attr, an actor class, or what child(), supervisor() and the like have made",
    )
    parser.add_argument("args", metavar="JSON", nargs="*", help=f"of a class: {_JSON_HELP}")
    parser.add_argument("--name", metavar="NAME", help="of a class: the name of the actor")
    parser.add_argument("--on", metavar="NODE_OR_GROUP", help="of a class: where it runs")
    _add_common(parser)


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "node",
        metavar="NODE",
        nargs="?",
        help="only lines of this node, such as web/1, of a group, or of `system` itself",
    )
    parser.add_argument(
        "--follow",
        "-f",
        action="store_true",
        help="print new lines as they come, until the system has ended",
    )
    parser.add_argument(
        "--lines",
        "-n",
        metavar="N",
        type=int,
        default=100,
        help="of those that the system keeps, the last N; default: %(default)d",
    )
    _add_common(parser)


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="such as web/1")
    _add_common(parser)


def _profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="such as web/1; a group such as web, or all")
    parser.add_argument(
        "seconds",
        metavar="SECONDS",
        nargs="?",
        type=float,
        default=5.0,
        help="for how long, at most 60; default: %(default)g",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the HTML file to write; default: profile-NODE.html in this folder",
    )
    parser.epilog = (
        "The file is a flame graph: the width of a bar is CPU time, what lies below a bar was called by it. "
        "With --json the profile is printed, and no file is written."
    )
    _add_common(parser)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "seconds",
        metavar="SECONDS",
        nargs="?",
        type=float,
        default=10.0,
        help="for how long it looks, at most 300; default: %(default)g",
    )
    _add_common(parser)


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="http://, https://, ws:// or wss://")
    parser.add_argument(
        "--rate",
        metavar="N",
        help="requests that are due in a second, whether earlier ones were answered or not; each waits "
        "from when it was due. Without it the next is sent as soon as there was an answer",
    )
    parser.add_argument("--seconds", metavar="N", default="10", help="default: %(default)s")
    parser.add_argument("--connections", metavar="N", default="50", help="default: %(default)s")
    parser.add_argument(
        "--timeout", metavar="SECONDS", default="10", help="of a request; default: %(default)s"
    )
    parser.add_argument(
        "--closing", action="store_true", help="a connection of its own for each request"
    )
    parser.add_argument("--method", metavar="WORD", help="default: GET, or POST with --data")
    parser.add_argument(
        "--header", metavar="'NAME: VALUE'", action="append", default=[], help="repeatable"
    )
    parser.add_argument("--data", metavar="TEXT", default="", help="the body, or a message's text")
    parser.add_argument(
        "--insecure", action="store_true", help="trust any certificate of the server"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the JSON file to write; default: actors-report-PID.json in this folder",
    )
    parser.epilog = (
        "It has the versions, nodes, tree, figures, stacks and last events of the system. One that ends by "
        "itself writes it into the folder `reports` beside its control socket."
    )
    _add_common(parser)


def _apply(parser: argparse.ArgumentParser) -> None:
    apply_arguments(parser)
    _add_common(parser)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", help="bash, zsh, fish, tcsh or powershell")
    parser.epilog = 'In ~/.bashrc: eval "$(actors completion bash)"'


COMMANDS: Final[dict[str, tuple[str, Any]]] = {
    "run": ("run a topology, or an application file, in the foreground", _run),
    "serve": ("serve an ASGI application over several processes", _serve),
    "join": (
        "give this machine to a system of another one, whose nodes then run here",
        join_arguments,
    ),
    "ps": ("show the nodes and listeners of the running system", _add_common),
    "tree": ("show the supervision tree of the running system", _add_common),
    "top": ("show the nodes and the busiest actors of the running system, repeatedly", _top),
    "doctor": ("look at the running system for a while, and say what should be done", _doctor),
    "events": ("print the events of the running system as they happen, one line each", _events),
    "stack": ("show the stacks of the threads and tasks of a node, even if it hangs", _node),
    "profile": ("show in which functions nodes spend their CPU time, as a flame graph", _profile),
    "report": ("write all that can be known of the running system into one file", _report),
    "spawn": ("add a group of nodes to the running system, and wait until they are ready", _spawn),
    "scale": ("change the number of nodes of a group, and wait until it is reached", _scale),
    "reload": (
        "replace nodes by new processes with new code, without losing a request",
        _reload,
    ),
    "stop": (
        "stop the running system, one of its nodes, or actors cleanly, and wait until they have ended",
        _stop,
    ),
    "restart": (
        "replace a node by a new process, or end actors at once and wait until they run again",
        _some,
    ),
    "kill": ("kill a node, which is then restarted, or actors, as their supervisors decide", _some),
    "ask": ("send a message to an actor or a pool, and print the reply", _ask),
    "state": ("show what an actor says of itself, or what it is busy with", _state),
    "logs": ("print the last lines of the log, and with -f those that follow", _logs),
    "trace": ("print the messages of an actor as it handles them, one line each", _trace),
    "admin": ("show the address of the dashboard, with the token that it asks for", _add_common),
    "start": ("add a child to a supervisor of the running system", _start),
    "debug": ("talk to the debugger of a node that stands at a breakpoint()", _node),
    "bench": ("load a server over HTTP or WebSockets, and show what its clients wait for", _bench),
    "check": ("check an application file, and show what it would start", check_arguments),
    "apply": ("make the running system what an application file describes", _apply),
    "import": (
        "write an application file from a Procfile, an oxfile or a file of PM2",
        import_arguments,
    ),
    "unit": ("write the systemd units that run an application file", unit_arguments),
    "export": ("print what another server needs to know of an application file", export_arguments),
    "schema": ("print the JSON schema of application files, for editors", schema_arguments),
    "completion": ("print a script that lets a shell complete these commands", _completion),
}


def parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    Options of *command* have their defaults from the environment, where it has options of that kind.
    """
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
        made = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )
        add(made)
        if name == command == "serve":
            from_environment(made)
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
    known, unknown = parser(first).parse_known_args(arguments)
    if unknown:
        command = f"actors {known.command}"
        ours = answer_to_option(unknown[0]) if known.command == "serve" else ""
        hint = f"; here that is {ours}" if ours else ""
        raise CommandFailed(
            f"`{command}` does not take {' '.join(unknown)!r}{hint} (see `{command} --help`)", WRONG
        )
    return known
