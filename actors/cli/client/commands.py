"""The commands that ask a running system over its control socket, and print what it answers."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from actors._base.printable import printable
from actors.cli._failure import WRONG, CommandFailed, is_count
from actors.cli.client.connection import REPLY_TIMEOUT, connect
from actors.cli.client.flame_graph import flame_graph
from actors.cli.client.text import (
    as_admin,
    as_advice,
    as_ended,
    as_event,
    as_groups,
    as_json,
    as_late,
    as_log_line,
    as_message,
    as_nodes,
    as_profile,
    as_raw_line,
    as_stacks,
    as_started,
    as_state,
    as_status,
    as_tree,
    line_drawing,
)

__all__ = ["COMMANDS"]

_CHANGE_TIMEOUT: Final = 120.0
"""Seconds for nodes to boot or to drain; the system has its own, shorter limits for both."""
_RELOAD_TIMEOUT: Final = 3600.0
"""Seconds for all nodes to be renewed one after another; the system limits each of them."""
_STOP_TIMEOUT: Final = 60.0
"""Seconds for a system to stop; its own limits are shorter."""
_LONGEST_INTERVAL: Final = 60.0
"""Seconds; the system refuses to observe itself for longer."""
_LOOKS: Final = 5
"""How often `actors doctor` looks."""
_STDIN: Final = 0


def _ps(options: Namespace) -> None:
    _show(options, _ask(options, "ps"), as_status)


def _tree(options: Namespace) -> None:
    lines = line_drawing(sys.stdout.encoding)
    _show(options, _ask(options, "tree"), lambda root: as_tree(root, lines))


def _stack(options: Namespace) -> None:
    _show(options, _ask(options, "stack", node=options.node), as_stacks)


def _profile(options: Namespace) -> None:
    """Write the flame graph of nodes to a file, and print which functions used most CPU time."""
    path = Path(options.output or f"profile-{options.node.replace('/', '-')}.html")
    if not options.json and not path.parent.is_dir():
        raise CommandFailed(
            f"--output {printable(str(path))}: there is no folder {printable(str(path.parent))}",
            WRONG,
        )
    profile = _ask(
        options,
        "profile",
        timeout=REPLY_TIMEOUT + min(max(0.0, options.seconds), _LONGEST_INTERVAL),
        node=options.node,
        seconds=options.seconds,
    )
    if options.json:
        print(as_json(profile))
        return
    about = f"{options.node}, {options.seconds:g} seconds, {time.strftime('%Y-%m-%d %H:%M:%S')}"
    try:
        path.write_text(flame_graph(profile, about), encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"--output {printable(str(path))}: {error.strerror}") from error
    print(f"{as_profile(profile)}\nflame graph: {printable(str(path))}")


def _report(options: Namespace) -> None:
    """Write the report of a system into a file."""
    found = _ask(options, "report", timeout=_CHANGE_TIMEOUT)
    if options.json:
        print(as_json(found))
        return
    path = Path(options.output or f"actors-report-{found['pid']}.json")
    try:
        path.write_text(as_json(found), encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"--output {printable(str(path))}: {error.strerror}") from error
    print(f"report: {printable(str(path))}")


def _spawn(options: Namespace) -> None:
    started = _ask(
        options,
        "spawn",
        timeout=_CHANGE_TIMEOUT,
        name=options.name,
        count=options.count,
        kind=options.kind,
        backend=options.backend,
        preload=options.preload,
        env=dict(_variable(text) for text in options.env),
        nice=options.nice,
    )
    _show(options, started, as_nodes)


def _scale(options: Namespace) -> None:
    counts = _group_counts(options.groups)
    _show(options, _ask(options, "scale", timeout=_CHANGE_TIMEOUT, groups=counts), as_groups)


def _reload(options: Namespace) -> None:
    arguments: dict[str, Any] = {"nodes": options.nodes, "surge": options.surge}
    if options.ready_timeout is not None:
        arguments["ready_timeout"] = options.ready_timeout
    _show(options, _ask(options, "reload", timeout=_RELOAD_TIMEOUT, **arguments), as_nodes)


def _admin(options: Namespace) -> None:
    _show(options, _ask(options, "admin"), as_admin)


def _kill(options: Namespace) -> None:
    _show_ended(options, _ask_for(options, "kill_any"))


def _restart(options: Namespace) -> None:
    _show_ended(options, _ask_for(options, "restart", timeout=_RELOAD_TIMEOUT))


def _stop(options: Namespace) -> None:
    if options.name is not None:
        _show_ended(options, _ask_for(options, "stop_any", timeout=_CHANGE_TIMEOUT))
        return
    with closing(connect(options.pid)) as system:
        system.stop(_STOP_TIMEOUT)
    _show(
        options,
        {"pid": system.pid, "stopped": True},
        lambda _: f"system {system.label} has stopped",
    )


def _events(options: Namespace) -> None:
    """Print events, one line each, until the system has ended."""
    with closing(connect(options.pid)) as system:
        events = system.follow("events", messages=options.messages)
        _print_note(f"following system {system.label}; Ctrl-C ends this")
        for event in events:
            print(as_json(event, indent=None) if options.json else as_event(event), flush=True)
        _print_note(f"system {system.label} has ended")


def _doctor(options: Namespace) -> None:
    """Look at the system for a while and print what should be done."""
    from actors._base.cpus import usable_cpus  # noqa: PLC0415 - other commands need none of these
    from actors.cli.client.diagnosis import diagnose  # noqa: PLC0415 - the same

    each = options.seconds / _LOOKS
    if not 0 < each <= _LONGEST_INTERVAL:
        most = _LOOKS * _LONGEST_INTERVAL
        raise CommandFailed(
            f"SECONDS is above 0 and at most {most:g}, got {options.seconds}", WRONG
        )
    looks, label = [], options.pid
    for _ in range(_LOOKS):
        with closing(connect(label)) as system:
            label = system.label
            looks.append(system.ask("top", timeout=REPLY_TIMEOUT + each, seconds=each, rows=100))
    _show(options, [asdict(advice) for advice in diagnose(looks, usable_cpus())], as_advice)


def _ask_for(options: Namespace, op: str, *, timeout: float = _CHANGE_TIMEOUT) -> Any:
    """Have something done with a node, or with actors."""
    done = _ask(options, op, timeout=timeout, name=options.name, actor=options.actor)
    if done.get("late"):
        raise CommandFailed(as_late(done))
    return done


def _show_ended(options: Namespace, done: Any) -> None:
    print(as_json(done.get("nodes", [done])[0]) if options.json else as_ended(done))


def _ask_actor(options: Namespace) -> None:
    """Print the reply of an actor, or the items of a stream, one line each."""
    args, kwargs = _json_arguments(options.args)
    with closing(connect(options.pid)) as system:
        lines = system.lines(
            "ask",
            wait=max(0.0, options.timeout) + REPLY_TIMEOUT,
            name=options.name,
            method=options.method,
            args=args,
            kwargs=kwargs,
            seconds=options.timeout,
        )
        stream = next(lines)["stream"]
        for item in lines:
            text = as_json(item, indent=None if stream else 2)
            print(item if isinstance(item, str) and not options.json else text, flush=True)


def _json_arguments(texts: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the arguments by position and by name, still as JSON.

    Raises:
        CommandFailed: one by position follows one by name, or a name comes twice.
    """
    args: list[str] = []
    kwargs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            if kwargs:
                raise CommandFailed(f"{text!r} has no name, and follows arguments with one", WRONG)
            args.append(text)
        elif name in kwargs:
            raise CommandFailed(f"argument {name!r} is given twice", WRONG)
        else:
            kwargs[name] = value
    return args, kwargs


def _state(options: Namespace) -> None:
    _show(options, _ask(options, "state", name=options.name), as_state)


def _trace(options: Namespace) -> None:
    """Print the messages that an actor handles, until the system or the actor's node has ended."""
    with closing(connect(options.pid)) as system:
        lines = system.lines("trace", wait=None, name=options.name, rate=options.rate)
        whom = next(lines)
        _print_note(f"tracing {whom['name']} ({whom['class']} on {whom['node']}); Ctrl-C ends this")
        for message in lines:
            text = as_json(message, indent=None) if options.json else as_message(message)
            print(text, flush=True)


def _logs(options: Namespace) -> None:
    """Print lines of the log: as text, or with --json as they are."""
    with closing(connect(options.pid)) as system:
        found = system.lines(
            "logs", wait=None, node=options.node, lines=options.lines, follow=options.follow
        )
        next(found)
        for batch in found:
            if batch["lost"]:
                _print_note(f"... {batch['lost']} lines were lost: this is too slow")
            for line in batch["lines"]:
                print(as_raw_line(line) if options.json else as_log_line(line))
            sys.stdout.flush()


def _debug(options: Namespace) -> None:
    """Give the terminal to the debugger of a node, until one of them leaves."""
    with closing(connect(options.pid)) as system:
        talk = system.converse("debug", _STDIN, node=options.node)
        at = next(talk)
        _print_note(
            f"{at['node']} stands at {at['place']}{' in actor ' * bool(at['actor'])}{at['actor']}; "
            "q or Ctrl-D leaves and lets it continue"
        )
        for said in talk:
            if "text" in said:
                print(said["text"], end="", flush=True)
            elif said["died"]:
                raise CommandFailed(f"node {at['node']} has ended: {said['how']}")
            else:
                print()
                _print_note(said["how"])


def _start(options: Namespace) -> None:
    args, kwargs = _json_arguments(options.args)
    started = _ask(
        options,
        "start",
        timeout=_CHANGE_TIMEOUT,
        supervisor=options.supervisor,
        target=options.target,
        args=args,
        kwargs=kwargs,
        name=options.name,
        on=options.on,
    )
    _show(options, started, as_started)


def _ask(options: Namespace, op: str, *, timeout: float = REPLY_TIMEOUT, **arguments: Any) -> Any:
    with closing(connect(options.pid)) as system:
        return system.ask(op, timeout=timeout, **arguments)


def _show(options: Namespace, facts: Any, as_text: Callable[[Any], str]) -> None:
    print(as_json(facts) if options.json else as_text(facts))


def _print_note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _group_counts(texts: Sequence[str]) -> dict[str, int]:
    """Read ``GROUP=COUNT`` texts.

    Raises:
        CommandFailed: one of them is malformed, or a group is named twice.
    """
    counts: dict[str, int] = {}
    for text in texts:
        name, _, count = text.partition("=")
        if not name or not is_count(count):
            raise CommandFailed(
                f"a number of nodes is GROUP=COUNT such as web=4, got {text!r}", WRONG
            )
        if name in counts:
            raise CommandFailed(
                f"{printable(name)} has one number of nodes, got {text!r} after another", WRONG
            )
        counts[name] = int(count)
    return counts


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandFailed(f"--env must be NAME=VALUE, got {text!r}", WRONG)
    return name, value


COMMANDS: Final[dict[str, Callable[[Namespace], None]]] = {
    "ps": _ps,
    "tree": _tree,
    "doctor": _doctor,
    "events": _events,
    "stack": _stack,
    "profile": _profile,
    "report": _report,
    "spawn": _spawn,
    "scale": _scale,
    "reload": _reload,
    "stop": _stop,
    "restart": _restart,
    "kill": _kill,
    "ask": _ask_actor,
    "state": _state,
    "debug": _debug,
    "trace": _trace,
    "logs": _logs,
    "start": _start,
    "admin": _admin,
}
