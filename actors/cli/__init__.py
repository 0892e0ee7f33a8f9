"""The `actors` command: starts systems in the foreground, and looks after running ones.

Rule 1: the only package that reads a command line or prints for people.
Rule 2: a user's mistake is one message on standard error and an exit code, never a traceback of
ours. What the codes mean is in `_failure`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from actors.cli._failure import FAILED, CommandFailed
from actors.cli._parser import COMMANDS, parse
from actors.cli._target import import_from_here, load_topology
from actors.cli.client.client import connect
from actors.cli.client.nodes import kill_node, reload_nodes, scale_groups, spawn_nodes, stop_node
from actors.cli.client.print import as_groups, as_json, as_nodes, as_status, as_tree, lines_for
from actors.cli.client.views import as_stacks
from actors.cli.client.watch import ask_stack, follow_events, show_top
from actors.cli.server.reloads import Reloads
from actors.cli.server.run import override_counts, run_topology
from actors.cli.server.serve import serving

__all__ = ["main"]

_INTERRUPTED: Final = 130
_STOPPING: Final = 60.0
"""Seconds that a system may take to stop; its own deadlines are shorter."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv*, `sys.argv` unless given, and return the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        chosen = parse(arguments, _version())
        _COMMANDS[chosen.command](chosen)
        sys.stdout.flush()
    except CommandFailed as error:
        name = f"actors {arguments[0]}" if arguments and arguments[0] in COMMANDS else "actors"
        print(f"{name}: error: {error}", file=sys.stderr)
        return error.code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return 0


def _version() -> str:
    try:
        return version("actors-framework")
    except PackageNotFoundError:
        return "from a checkout"


def _run(chosen: Any) -> None:
    import_from_here()
    topology = override_counts(load_topology(chosen.target), chosen.nodes)
    module = chosen.target.partition(":")[0]
    run_topology(topology, Reloads(watched=(module,) if chosen.reload else None))


def _serve(chosen: Any) -> None:
    import_from_here()
    module = chosen.app.partition(":")[0]
    run_topology(
        serving(
            chosen.app,
            bind=chosen.bind,
            count=chosen.nodes,
            sticky=chosen.sticky,
            policy=chosen.policy,
            factory=chosen.factory,
            certfile=chosen.certfile,
            keyfile=chosen.keyfile,
            develop=chosen.reload,
        ),
        Reloads(on_hangup=True, watched=(module,) if chosen.reload else None),
    )


def _ps(chosen: Any) -> None:
    with connect(chosen.pid) as system:
        facts = system.ask("ps")
    print(as_json(facts) if chosen.json else as_status(facts))


def _tree(chosen: Any) -> None:
    with connect(chosen.pid) as system:
        root = system.ask("tree")
    print(as_json(root) if chosen.json else as_tree(root, lines_for(sys.stdout.encoding)))


def _stack(chosen: Any) -> None:
    facts = ask_stack(chosen)
    print(as_json(facts) if chosen.json else as_stacks(facts))


def _spawn(chosen: Any) -> None:
    facts = spawn_nodes(chosen)
    print(as_json(facts) if chosen.json else as_nodes(facts))


def _scale(chosen: Any) -> None:
    groups = scale_groups(chosen)
    print(as_json(groups) if chosen.json else as_groups(groups))


def _reload(chosen: Any) -> None:
    facts = reload_nodes(chosen)
    print(as_json(facts) if chosen.json else as_nodes(facts))


def _kill(chosen: Any) -> None:
    facts = kill_node(chosen)
    text = f"node {facts['name']} was killed; its supervisor restarts it"
    print(as_json(facts) if chosen.json else text)


def _stop(chosen: Any) -> None:
    if chosen.node is not None:
        facts = stop_node(chosen)
        print(as_json(facts) if chosen.json else f"node {facts['name']} has stopped")
        return
    with connect(chosen.pid) as system:
        system.stop(_STOPPING)
        stopped = {"pid": system.pid, "stopped": True}
    print(as_json(stopped) if chosen.json else f"system {stopped['pid']} has stopped")


_COMMANDS: Final[dict[str, Callable[[Any], None]]] = {
    "run": _run,
    "serve": _serve,
    "ps": _ps,
    "tree": _tree,
    "top": show_top,
    "events": follow_events,
    "stack": _stack,
    "spawn": _spawn,
    "scale": _scale,
    "reload": _reload,
    "stop": _stop,
    "kill": _kill,
}
