"""What commands do with single actors: ask them, look at them, add, stop, restart and kill them.

Rule: the process that made the system hands on what the command says; the actor's own node reads it.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec
from actors._base.suggestions import did_you_mean
from actors._messaging.ref import Ref
from actors._remoting import command_operations as ops
from actors._system.actor_calls import Said
from actors._system.control.ended_nodes import link_of, settled
from actors._system.coordinator import Coordinator
from actors._system.sent_specs import tree_item_from
from actors.nodes import Link, RemoteNode
from actors.supervisors import Restart

__all__ = ["ask", "end_actors", "known_actors", "matching_actors", "start", "state", "trace"]

_STATE_WITHIN: Final = 5.0
"""Seconds."""
_LONGER: Final = 2.0
"""Seconds that a node has for an answer beyond those that its actor has."""
_ENDED_WITHIN: Final = 30.0
_FASTEST: Final = 10_000
_LONGEST_TIMEOUT: Final = 24 * 3600.0


def known_actors(core: Coordinator) -> dict[str, Ref[Any]]:
    """Return the addresses of actors by their names: of all but children of actors without a name."""
    named = {name: core.registry.get(name) for name in core.registry}
    found = {actor.ref.name: actor.ref for actor in core.supervised.values()}
    return found | {name: ref for name, ref in named.items() if ref is not None}


def _find(core: Coordinator, name: str) -> Ref[Any]:
    actors = known_actors(core)
    if name not in actors:
        raise InvalidSpec(f"there is no actor {name!r}{did_you_mean(name, actors)}")
    return actors[name]


def _link(core: Coordinator, ref: Ref[Any]) -> Link | None:
    """Return the link to the node of an actor; None if it is of this process."""
    if ref.uid in core.host.cells:
        return None
    actor = core.supervised.get(ref.uid)
    if actor is not None and isinstance(actor.place, RemoteNode):
        return link_of(actor.place)
    for run in core.runs.values():
        if run.number == ref.uid >> 32 and run.link is not None:
            return run.link
    raise ActorsError(f"{ref.name} does not run: its node {ref.node} is not running")


async def _on_node(
    core: Coordinator,
    link: Link | None,
    here: Callable[..., Awaitable[Any]],
    op: Any,
    *args: Any,
    seconds: float,
) -> Any:
    """Have the node at the other end of *link* do something, or this process."""
    if link is None:
        return await here(*args)
    await settled(core, link, seconds)
    try:
        with anyio.fail_after(seconds + _LONGER):
            return await link.call(op, *args)
    except TimeoutError:
        run = core.runs.get(link.peer)
        block = {} if run is None else run.block
        why = (
            f": {block['actor']} has kept its loop by {block['message']}"
            if "actor" in block
            else ""
        )
        raise ActorsError(f"node {link.peer} does not answer{why}") from None


def _told(answer: list[str]) -> str:
    """Return the JSON of an answer.

    Raises:
        InvalidSpec, ActorsError: it is an error.
    """
    said, text = answer
    if said == Said.WRONG:
        raise InvalidSpec(text)
    if said == Said.FAILED:
        raise ActorsError(text)
    return text


async def ask(
    core: Coordinator,
    name: str,
    method: str,
    args: list[str],
    kwargs: dict[str, str],
    seconds: float,
) -> AsyncIterator[Any]:
    """Ask an actor or a pool; yield what kind of answer it is, then the reply or one item after another.

    Raises:
        InvalidSpec: there is no such actor or message, or an argument does not fit.
        ActorsError: whatever else the answer is.
    """
    if type(seconds) not in {int, float} or not 0 < seconds <= _LONGEST_TIMEOUT:
        raise InvalidSpec(f"timeout must be more than 0 seconds and at most a day, got {seconds!r}")
    actors = known_actors(core)
    pool = "" if name in actors else await _pool(core, name, actors)
    ref = await _member(core, pool) if pool else actors[name]
    link, calls = _link(core, ref), core.calls
    call = (ref.uid, pool, method, args, kwargs, seconds)
    answer = await _on_node(core, link, calls.ask, ops.ask_actor, *call, seconds=seconds)
    told = _told(answer)
    if answer[0] != Said.STREAM:
        yield {"stream": False}
        yield json.loads(told)
        return
    stream = int(told)
    yield {"stream": True}
    try:
        next_of = (stream, seconds)
        while items := await _on_node(
            core, link, calls.next_items, ops.next_items, *next_of, seconds=seconds
        ):
            for item in items:
                yield json.loads(_told(item))
    finally:
        if link is None:
            calls.close_items(stream)
        else:
            link.note(ops.close_items, stream)


async def _pool(core: Coordinator, name: str, actors: dict[str, Any]) -> str:
    if not name or await core.pools.find(name) is None:
        known = [*actors, *core.pool_sizes]
        raise InvalidSpec(f"there is no actor and no pool {name!r}{did_you_mean(name, known)}")
    return name


async def _member(core: Coordinator, pool: str) -> Ref[Any]:
    """Return a member of a pool, on whose node the pool is asked."""
    found = await core.pools.find(pool)
    members = [] if found is None else await found.members()
    if not members:
        raise ActorsError(f"pool {pool!r} has no member that runs")
    return members[0]


async def state(core: Coordinator, name: str) -> dict[str, Any]:
    """Return what an actor says of itself by its `on_inspect`."""
    ref = _find(core, name)
    within = _STATE_WITHIN
    answer = await _on_node(
        core,
        _link(core, ref),
        core.calls.state,
        ops.actor_state,
        ref.uid,
        within,
        seconds=within,
    )
    return {
        "name": ref.name,
        "class": ref.cls_path,
        "node": ref.node,
        "state": json.loads(_told(answer)),
    }


async def trace(core: Coordinator, name: str, rate: int = 100) -> AsyncIterator[Any]:
    """Yield who is traced, then each message that the actor handles, until the command ends.

    Raises:
        InvalidSpec: there is no such actor, or a rate that cannot work.
    """
    if type(rate) is not int or not 1 <= rate <= _FASTEST:
        raise InvalidSpec(f"rate must be 1 to {_FASTEST} messages a second, got {rate!r}")
    ref = _find(core, name)
    link, calls, within = _link(core, ref), core.calls, _STATE_WITHIN
    watch = await _on_node(core, link, calls.watch, ops.watch_actor, ref.uid, rate, seconds=within)
    try:
        yield {"name": ref.name, "class": ref.cls_path, "node": ref.node}
        while True:
            found, dropped = (
                await calls.next_watched(watch)
                if link is None
                else await link.call(ops.next_watched, watch)
            )
            for method, sender, seconds, outcome in found:
                yield {"method": method, "from": sender, "seconds": seconds, "outcome": outcome}
            if dropped:
                yield {"dropped": dropped}
    finally:
        if link is None:
            calls.close_watch(watch)
        else:
            link.note(ops.close_watch, watch)


async def start(
    core: Coordinator,
    supervisor: str,
    target: str,
    args: list[str],
    kwargs: dict[str, str],
    name: str | None = None,
    on: str | None = None,
) -> dict[str, Any]:
    """Add a child to a supervisor: a spec or an actor class, by its path."""
    handle = core.tree.find(supervisor)
    options: dict[str, Any] = {"name": name, "on": on}
    if core.local is not None:
        item = core.calls.named_spec(target, args, kwargs, options)
    else:
        link = await _any_node(core, on)
        described = await link.call(ops.describe, target, args, kwargs, dict(options))
        item = tree_item_from(described)
    ref = await handle.start_child(item)
    node = None if ref is None else ref.node
    return {"name": item.name, "supervisor": supervisor, "node": node}


async def _any_node(core: Coordinator, on: str | None) -> Link:
    """Return the link to a node that imports what is to be started: one where it is to run, if that is said."""
    wanted = [node for node in core.nodes.values() if on in {node.name, node.group, None}]
    ready = [node for node in wanted if node.ready and node.kind == "process"]
    if not ready:
        await core.groups.ensure_main()
        ready = [node for node in core.nodes.values() if node.ready]
    if not ready:
        raise ActorsError("no node is ready to import what is to be started")
    return ready[0].link


async def end_actors(core: Coordinator, pattern: str, verb: str) -> dict[str, Any]:
    """Stop, restart or kill every actor that a name or a glob pattern means.

    Returns:
        their names, and by name why some have not ended, or are not back, within the time for that.

    Raises:
        InvalidSpec: it means none, or one that is not restarted.
    """
    found = matching_actors(core, pattern)
    if not found:
        programs = core.programs.names
        hint = did_you_mean(pattern, [*known_actors(core), *core.nodes, *programs])
        known = ", ".join(repr(name) for name in programs if "/" not in name)
        nor = f"; the programs are {known}" if known else ""
        raise InvalidSpec(f"no actor and no node is called {pattern!r}{hint or nor}")
    if verb == "restart":
        for ref in found:
            _check_comes_back(core, ref)
    late = {ref.uid: ref for ref in found}

    async def end(ref: Ref[Any]) -> None:
        await _end(core, ref, verb)
        del late[ref.uid]

    with anyio.move_on_after(_ENDED_WITHIN):
        async with anyio.create_task_group() as tasks:
            for ref in found:
                tasks.start_soon(end, ref)
    return {
        "verb": verb,
        "actors": sorted(ref.name for ref in found),
        "late": {ref.name: _why_late(core, ref) for ref in late.values()},
        "within": _ENDED_WITHIN,
    }


def matching_actors(core: Coordinator, pattern: str) -> list[Ref[Any]]:
    """Return the actors that a name or a glob pattern means; one that has exactly this name alone."""
    actors = known_actors(core)
    if pattern in actors:
        return [actors[pattern]]
    return [ref for name, ref in actors.items() if fnmatch.fnmatchcase(name, pattern)]


def _check_comes_back(core: Coordinator, ref: Ref[Any]) -> None:
    actor = core.supervised.get(ref.uid)
    if actor is None:
        raise InvalidSpec(f"{ref.name} is a child of an actor of its node, which alone restarts it")
    if actor.restart is Restart.TEMPORARY:
        raise InvalidSpec(f"{ref.name} is TEMPORARY: its supervisor does not restart it")


def _why_late(core: Coordinator, ref: Ref[Any]) -> str:
    """Return what an actor waits for that should have ended, or be back."""
    actor = core.supervised.get(ref.uid)
    if actor is None or actor.running is not False:
        return "has not ended"
    node = actor.place
    if isinstance(node, RemoteNode) and not node.ready:
        row = next((one for one in core.tree.nodes.children() if one.name == node.name), None)
        state = "is away" if row is None else f"is {row.state.value}"
        again = row.due - anyio.current_time() if row is not None and row.due is not None else 0
        return f"waits for {node.name}, which {state}" + (
            f" for {again:.0f} s" if again > 0 else ""
        )
    return "waits for its next start"


async def _end(core: Coordinator, ref: Ref[Any], verb: str) -> None:
    if verb == "stop":
        await ref.stop()
        await ref.wait()
        return
    if verb == "kill":
        ref.kill()
        return
    events = core.bus.stream(messages=False)
    ref.kill()
    try:
        async for event in events:
            again = event.kind == "child_started" and event.facts.get("child") == ref.name
            if again or ref.uid not in core.supervised:
                return
    finally:
        events.close()
