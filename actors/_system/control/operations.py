"""The operations of the control socket, by name.

Rule: a request that is wrong or fails is answered with the reason; the system continues.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from actors._base.errors import ActorsError, InvalidSpec
from actors._system.control.actors import ask, end_actors, matching_actors, start, state, trace
from actors._system.control.apply import apply
from actors._system.control.debug import debug
from actors._system.control.ended_nodes import not_running
from actors._system.control.logs import logs
from actors._system.control.looks import children, queued, serving
from actors._system.control.profile import profile
from actors._system.control.ps import node_identity, node_named, ps
from actors._system.control.report import report
from actors._system.control.top import top
from actors._system.coordinator import Coordinator
from actors.nodes import RemoteNode, nodes
from actors.supervisors import shown

__all__ = ["OPERATIONS", "ControlOperation", "Refused", "refusal"]


class Refused(Exception):
    """The request cannot be served; the text says why."""


@dataclass(frozen=True, slots=True)
class ControlOperation:
    """What one kind of request does.

    Attributes:
        run: takes the coordinator and, by name, the arguments of the request; returns the result.
        after_reply: called with the coordinator when the reply has been sent.
        arguments: the names of the arguments that a request may have.
        follows: whether a stream of events is sent after the reply, by `EventFollowers`.
    """

    run: Callable[..., Awaitable[Any]]
    after_reply: Callable[[Coordinator], object] | None = None
    arguments: frozenset[str] = frozenset()
    follows: bool = False
    lines: Callable[..., AsyncIterator[Any]] | None = None
    """Called in place of `run`: yields the result, then what is sent, a line each, until the client closes."""
    talks: Callable[..., Awaitable[None]] | None = None
    """Called in place of `run`, with the connection: replies, and then reads and writes as it likes."""
    connects: bool = False
    """Whether the connection becomes, after the reply, the link to a client of the system."""


def refusal(error: Exception) -> dict[str, str]:
    """Return the reply about *error*: its text, and why: the request was wrong, or what it asked for failed."""
    if isinstance(error, Refused):
        return {"error": str(error)}
    if isinstance(error, ActorsError):
        why = "wrong" if isinstance(error, InvalidSpec) else "failed"
        return {"error": shown(error), "why": why}
    return {"error": f"{type(error).__name__}: {shown(error)}"}


async def _pid(core: Coordinator) -> dict[str, Any]:
    return {"pid": os.getpid(), "ends_process": core.ends_process}


async def _connect(core: Coordinator, version: str | None = None) -> dict[str, Any]:
    return core.clients.admit(version)


async def _stack(core: Coordinator, node: str) -> dict[str, Any]:
    found = node_named(core, node)
    run = found.run or found.accepting_run
    if run is None:
        raise not_running(found)
    return {**node_identity(found), **await run.stacks()}


async def _spawn(core: Coordinator, **options: Any) -> list[dict[str, Any]]:
    return [node_identity(node) for node in await core.groups.start(nodes(**options))]


async def _scale(core: Coordinator, groups: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    for name, count in groups.items():  # check all before changing any
        if core.programs.find(name) is not None:
            core.programs.check_scale(name, count)
        else:
            core.groups.check(name, count)
    return {name: await _scale_one(core, name, count) for name, count in groups.items()}


async def _scale_one(core: Coordinator, name: str, count: int) -> list[dict[str, Any]]:
    if core.programs.find(name) is not None:
        await core.programs.scale(name, count)
        return core.programs.facts(name)
    return [node_identity(node) for node in await core.groups.scale(name, count)]


async def _reload(
    core: Coordinator,
    nodes: list[str] | None = None,
    *,
    surge: bool = False,
    ready_timeout: float | None = None,
) -> list[dict[str, Any]]:
    names, by = nodes or [], "`actors reload`"
    programs = [name for name in names if core.programs.find(name) is not None]
    others = [name for name in names if name not in programs]
    renewed: list[RemoteNode] = []
    if others or not programs:
        renewed = await core.reloading.reload(
            others, surge=surge, ready_timeout=ready_timeout, by=by
        )
    if programs:
        await core.programs.reload(programs, ready_timeout=ready_timeout, by=by)
    shown = [node_identity(node) for node in renewed]
    return [*shown, *(facts for name in programs for facts in core.programs.facts(name))]


async def _restart(core: Coordinator, name: str, *, actor: bool = False) -> dict[str, Any]:
    if not actor and core.programs.find(name) is not None:
        await core.programs.reload([name], by="`actors restart`")
        return {"verb": "restart", "programs": core.programs.facts(name)}
    if not _means_node(core, name, actor=actor):
        return await end_actors(core, name, "restart")
    renewed = await core.reloading.reload([node_named(core, name).name], by="`actors restart`")
    return {"verb": "restart", "nodes": [node_identity(node) for node in renewed]}


async def _stop_any(core: Coordinator, name: str, *, actor: bool = False) -> dict[str, Any]:
    if not actor and core.programs.find(name) is not None:
        facts = core.programs.facts(name) or [{"name": name}]
        await core.programs.stop(name)
        ended = [{**one, "state": "STOPPED", "pid": None} for one in facts]
        return {"verb": "stop", "programs": ended}
    if not _means_node(core, name, actor=actor):
        return await end_actors(core, name, "stop")
    return {"verb": "stop", "nodes": [await _stop_node(core, name)]}


async def _kill_any(core: Coordinator, name: str, *, actor: bool = False) -> dict[str, Any]:
    if not actor and core.programs.find(name) is not None:
        facts = core.programs.facts(name)
        core.programs.kill(name, "`actors kill`")
        return {"verb": "kill", "programs": facts}
    if not _means_node(core, name, actor=actor):
        return await end_actors(core, name, "kill")
    return {"verb": "kill", "nodes": [await _kill(core, name)]}


def _means_node(core: Coordinator, name: str, *, actor: bool) -> bool:
    """Whether a name means a node: one that has it, or none where only nodes have such names."""
    if actor or name in core.nodes:
        return not actor
    return "/" in name and not matching_actors(core, name)


async def _stop_node(core: Coordinator, node: str) -> dict[str, Any]:
    facts = node_identity(node_named(core, node))
    await core.stop_node(node, None)
    return {**facts, "state": "EXITED", "pid": None}


async def _kill(core: Coordinator, node: str) -> dict[str, Any]:
    found = node_named(core, node)
    if found.pid is None:
        raise not_running(found)
    facts = node_identity(found)
    core.groups.kill(node, "`actors kill`")
    return facts


async def _admin(core: Coordinator) -> dict[str, Any]:
    found: dict[str, Any] = core.admin.access()
    return found


OPERATIONS: Final[dict[str, ControlOperation]] = {
    "ps": ControlOperation(ps),
    "admin": ControlOperation(_admin),
    "tree": ControlOperation(Coordinator.whole_tree),
    "top": ControlOperation(top, arguments=frozenset({"seconds", "rows", "by", "match"})),
    "serving": ControlOperation(serving),
    "children": ControlOperation(children, arguments=frozenset({"path", "start", "count"})),
    "queued": ControlOperation(queued, arguments=frozenset({"name", "node"})),
    "events": ControlOperation(_pid, arguments=frozenset({"messages"}), follows=True),
    "debug": ControlOperation(_pid, talks=debug, arguments=frozenset({"node"})),
    "connect": ControlOperation(_connect, arguments=frozenset({"version"}), connects=True),
    "stack": ControlOperation(_stack, arguments=frozenset({"node"})),
    "stop": ControlOperation(_pid, after_reply=lambda core: core.end()),
    "profile": ControlOperation(profile, arguments=frozenset({"node", "seconds"})),
    "report": ControlOperation(report),
    "spawn": ControlOperation(
        _spawn,
        arguments=frozenset({"name", "count", "kind", "backend", "preload", "env", "nice"}),
    ),
    "scale": ControlOperation(_scale, arguments=frozenset({"groups"})),
    "reload": ControlOperation(_reload, arguments=frozenset({"nodes", "surge", "ready_timeout"})),
    "stop_node": ControlOperation(_stop_node, arguments=frozenset({"node"})),
    "kill": ControlOperation(_kill, arguments=frozenset({"node"})),
    "stop_any": ControlOperation(_stop_any, arguments=frozenset({"name", "actor"})),
    "restart": ControlOperation(_restart, arguments=frozenset({"name", "actor"})),
    "kill_any": ControlOperation(_kill_any, arguments=frozenset({"name", "actor"})),
    "ask": ControlOperation(
        _pid, lines=ask, arguments=frozenset({"name", "method", "args", "kwargs", "seconds"})
    ),
    "apply": ControlOperation(
        _pid,
        lines=apply,
        arguments=frozenset({"tables", "order", "expected", "stop_serving"}),
    ),
    "trace": ControlOperation(_pid, lines=trace, arguments=frozenset({"name", "rate"})),
    "logs": ControlOperation(_pid, lines=logs, arguments=frozenset({"node", "lines", "follow"})),
    "state": ControlOperation(state, arguments=frozenset({"name"})),
    "start": ControlOperation(
        start, arguments=frozenset({"supervisor", "target", "args", "kwargs", "name", "on"})
    ),
}
