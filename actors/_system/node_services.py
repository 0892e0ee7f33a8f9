"""The operations that nodes ask of the parent over their links; see `_remoting.operations`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec

from actors._base.errors import ActorsError
from actors._base.loop import to_monotonic
from actors._remoting import listener_operations as listening, operations as ops
from actors._remoting.router_requests import RouterRequests
from actors._system.placement import ActorRequest
from actors._system.sent_specs import nodes_from, tree_item_from
from actors._system.system_requests import Caller
from actors._system.tree_snapshot import whole_tree
from actors.nodes import RemoteNode, RemoteRun
from actors.supervisors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._messaging.ref import Ref
    from actors._system.adoptions import Adoptions
    from actors._system.kill_deadlines import KillDeadlines
    from actors._system.node_groups import NodeGroups
    from actors._system.placement import Placement
    from actors._system.recycling import Recycling
    from actors._system.supervision_tree import SupervisionTree
    from actors._system.system_requests import SystemRequests
    from actors._system.system_state import SystemState
    from actors._system.unready_nodes import UnreadyNodes
    from actors.nodes import Link
    from actors.routing import AnyRouter
    from actors.supervisors import ChildInfo
    from actors.transport import SharedBuffer

__all__ = ["NodeServices"]

P = ParamSpec("P")

_PARENT_ONLY: Final = ("node_", "system_", "listener_", "report_", "client_", "breakpoint_reached")
"""How events begin that no node reports."""


class NodeServices:
    """Serves the operations that nodes ask of the parent."""

    def __init__(
        self,
        state: SystemState,
        tree: SupervisionTree,
        groups: NodeGroups,
        placement: Placement,
        kill_deadlines: KillDeadlines,
        requests: SystemRequests,
        *,
        recycling: Recycling,
        unready: UnreadyNodes,
        adoptions: Adoptions,
    ) -> None:
        self._state = state
        self._tree = tree
        self._groups = groups
        self._placement = placement
        self._kill_deadlines = kill_deadlines
        self._requests = requests
        self._recycling = recycling
        self._unready = unready
        self._adoptions = adoptions

    def register(self) -> None:
        """Register a handler for every operation that the parent serves."""
        state, handlers = self._state, self._state.host.handlers
        handlers.on_call(ops.spawn, self._spawn)
        handlers.on_call(ops.lookup, lambda _, name, chain=(): state.registry.find(name, chain))
        handlers.on_note(ops.probe_start, lambda _, *probe: self._probe_start(*probe))
        state.host.deadlock_probe.pass_to_start = self._probe_start
        handlers.on_call(ops.claim_name, self._claim)
        handlers.on_note(ops.release_name, self._release)
        handlers.on_call(ops.new_fence, lambda _: state.new_fence())
        handlers.on_call(ops.wait_ended, self._wait_ended)
        handlers.on_note(ops.actor_ended, self._actor_ended)
        handlers.on_call(ops.actor_renewed, self._actor_renewed)
        handlers.on_note(ops.stop_supervised, self._stop_supervised)
        handlers.on_note(ops.actor_killed, lambda _, *kill: self._kill_deadlines.begin(*kill))
        handlers.on_call(ops.tree, lambda _: whole_tree(state, self._tree))
        handlers.on_call(ops.stop_system, self._stop_system)
        handlers.on_note(ops.event, self._event)
        handlers.on_note(ops.ready, self._on_run(RemoteRun.on_ready))
        handlers.on_note(ops.boot_failed, self._on_run(RemoteRun.on_boot_failed))
        handlers.on_note(
            ops.heartbeat, self._on_run(lambda run, watched: run.on_heartbeat(watched=watched))
        )
        handlers.on_note(ops.over_rss, self._on_run(self._recycling.over_rss))
        handlers.on_note(listening.readiness, self._on_run(self._unready.said))
        handlers.on_note(listening.served_enough, self._on_run(self._recycling.served_enough))
        # Without these files the node's stacks, or what blocks it, cannot be seen: whoever asks is told so.
        stacks = self._fd_of(lambda run, fd: run.on_stack_dump(fd))
        block = self._fd_of(lambda run, fd: run.on_block_page(fd))
        handlers.on_fd_note(ops.stack_dump, stacks, lost=lambda _: None)
        handlers.on_fd_note(ops.block_page, block, lost=lambda _: None)
        self._register_requests()
        self._adoptions.register()
        RouterRequests(self._router, self._slot).register(handlers)

    def _register_requests(self) -> None:
        handlers, requests = self._state.host.handlers, self._requests
        handlers.on_call(
            ops.start_child,
            lambda link, path, item, chain=(): requests.start_child(
                path, tree_item_from(item), self._caller(link, chain)
            ),
        )
        handlers.on_call(
            ops.stop_child,
            lambda link, path, name, chain=(): requests.stop_child(
                path, name, self._caller(link, chain)
            ),
        )
        handlers.on_call(
            ops.restart_child,
            lambda link, path, name, chain=(): requests.restart_child(
                path, name, self._caller(link, chain)
            ),
        )
        handlers.on_call(ops.delete_child, lambda _, *child: requests.delete_child(*child))
        handlers.on_call(ops.children, self._children)
        handlers.on_call(ops.count_children, lambda _, path: requests.count(path))
        handlers.on_call(ops.start_nodes, self._start_nodes)
        handlers.on_call(
            ops.scale,
            lambda link, group, count, chain=(): requests.scale(
                group, count, self._caller(link, chain)
            ),
        )
        handlers.on_call(ops.reload, self._reload)
        handlers.on_call(ops.node_stats, lambda _, name: requests.node_stats(name))
        handlers.on_call(
            ops.stop_node,
            lambda link, name, grace, chain=(): requests.stop_node(
                name, grace, self._caller(link, chain)
            ),
        )
        handlers.on_call(ops.drain_node, lambda _, *node: requests.drain_node(*node))
        handlers.on_note(ops.kill_node, lambda _, *kill: self._groups.kill(*kill))

    # -- from the run of a node ---------------------------------------------------------------

    def _run(self, link: Link) -> RemoteRun | None:
        return self._state.runs.get(link.peer)

    def _on_run(
        self, act: Callable[Concatenate[RemoteRun, P], object]
    ) -> Callable[Concatenate[Link, P], None]:
        """Return a handler that calls *act* with the run of the node, unless that has ended."""

        def handle(link: Link, /, *args: P.args, **none: P.kwargs) -> None:
            run = self._run(link)
            if run is not None:
                act(run, *args, **none)

        return handle

    def _name(self, link: Link) -> str:
        run = self._run(link)
        return link.peer if run is None else run.node.name

    def _fd_of(self, take: Callable[[RemoteRun, int], object]) -> Callable[[Link, list[int]], None]:
        """Return a handler that hands the one descriptor of a note to the run, which owns it then."""

        def handle(link: Link, fds: list[int]) -> None:
            run, (fd,) = self._run(link), fds
            if run is None:
                os.close(fd)
            else:
                take(run, fd)

        return handle

    def _actor_ended(
        self,
        link: Link,
        uid: int,
        incarnation: int,
        end: Exit,
        voluntary: bool,  # noqa: FBT001 - a wire field
    ) -> None:
        run, actor = self._run(link), self._state.supervised.get(uid)
        # An older incarnation was given up before its thread came to this.
        if run is not None and actor is not None and actor.incarnation == incarnation:
            run.node.actor_ended(uid, end, voluntary=voluntary)

    async def _actor_renewed(
        self, _link: Link, uid: int, incarnation: int, state: Sequence[bytes | SharedBuffer]
    ) -> None:
        actor = self._state.supervised.get(uid)
        if actor is not None and actor.incarnation == incarnation:
            actor.keep_state(state)

    def _probe_start(self, name: str, number: int, way: list[list[Any]]) -> None:
        """Pass a deadlock probe on to the actor that starts with a name, if it still does."""
        state = self._state
        uid = state.registry.starting(name)
        actor = None if uid is None else state.supervised.get(uid)
        if actor is None:
            return
        place = actor.place
        if not isinstance(place, RemoteNode):
            state.host.take_probe(actor.ref.uid, number, way)
        elif place.run is not None and place.run.link is not None:
            place.run.link.note(ops.probe_starting, actor.ref.uid, number, way)

    def _stop_supervised(self, _link: Link, uid: int) -> None:
        actor = self._state.supervised.get(uid)
        if actor is not None:
            actor.stop_for_good()
        else:
            self._adoptions.stop_early(uid)

    # A node is believed about itself only: whatever runs there may send what it likes.

    def _made_by(self, link: Link, uid: int) -> bool:
        """Return whether the actor *uid* was started by the node itself, which supervises it."""
        run = self._run(link)
        return run is not None and uid >> 32 == run.number

    async def _claim(self, link: Link, ref: Ref[Any]) -> None:
        if not self._made_by(link, ref.uid) or ref.node != link.peer:
            raise ActorsError(
                f"{self._name(link)} supervises no {ref}: it has no name to take for it"
            )
        await self._state.claim(ref)

    def _release(self, link: Link, name: str, uid: int) -> None:
        if self._made_by(link, uid):
            self._state.registry.release(name, uid)

    def _event(self, link: Link, kind: str, facts: dict[str, Any]) -> None:
        """Publish an event of the node under its own name; what only the parent can know is refused."""
        name = self._name(link)
        supervisor = facts.get("supervisor")
        foreign = supervisor is not None and not str(supervisor).startswith(f"{name}/")
        if foreign or kind.startswith(_PARENT_ONLY):
            self._state.event("report_refused", {"node": name, "kind": kind})
        else:
            self._state.event(kind, {**facts, "node": name})

    # -- from the servers of listeners -----------------------------------------------------------

    def _router(self, listener: str) -> AnyRouter | None:
        found = (item.router for item in self._state.listeners if item.spec.name == listener)
        return next(found, None)

    def _slot(self, link: Link) -> int | None:
        run = self._run(link)
        return None if run is None else run.node.slot

    # -- from the Systems of nodes -----------------------------------------------------------------

    async def _spawn(
        self,
        link: Link,
        path: str,
        arguments: list[bytes | SharedBuffer],
        options: ops.SpawnOptions,
        chain: ops.Chain = (),
    ) -> Ref[Any]:
        request = ActorRequest(path=path, cls=None, arguments=arguments, chain=chain, **options)
        ref = await self._placement.spawn(request)
        run = self._run(link)
        if run is not None and request.name is None and ref.node == run.node.name:
            self._adoptions.allow(run)
        return ref

    async def _wait_ended(self, _link: Link, uid: int) -> Exit:
        state = self._state
        if uid not in state.supervised:
            await self._adoptions.reported(uid)
        actor = state.supervised.get(uid)
        if actor is None:
            return state.host.ended.get(uid, Exit.FORGOTTEN)
        waiter = state.loop.waiter()
        cancel = actor.watch(lambda end: None if waiter.done() else waiter.set_result(end))
        try:
            end: Exit = await waiter
        finally:
            cancel()
        return end

    async def _stop_system(self, _link: Link) -> None:
        self._state.end()

    def _caller(self, link: Link, chain: ops.Chain) -> Caller:
        return Caller(self._name(link), chain)

    async def _children(self, _link: Link, path: str) -> list[ChildInfo]:
        loop = self._state.loop
        return [
            row if row.due is None else replace(row, due=to_monotonic(loop, row.due))
            for row in await self._requests.children(path)
        ]

    async def _start_nodes(self, _link: Link, spec: dict[str, Any]) -> list[str]:
        self._state.count_start("groups of nodes")
        return [node.name for node in await self._groups.start(nodes_from(spec))]

    async def _reload(
        self,
        link: Link,
        names: list[str],
        surge: bool,  # noqa: FBT001 - a wire field
        ready_timeout: float | None,
        chain: ops.Chain = (),
    ) -> list[str]:
        caller = self._caller(link, chain)
        return await self._requests.reload(names, caller, surge=surge, ready_timeout=ready_timeout)
