"""What nodes ask of the core, and what they tell it, over their links."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from actors._system.placement import ActorRequest
from actors._system.tree_snapshot import whole_tree
from actors.nodes import NodeState, RemoteRun
from actors.supervisors import Exit
from actors.transport import ChannelBroken, ChannelClosed, Endpoint, endpoint_pair, pair

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors._messaging.pool import Pool
    from actors._messaging.ref import Ref
    from actors._messaging.registry import Registry
    from actors._system.listeners import ListenerController
    from actors._system.placement import Placement
    from actors._system.supervision_tree import SupervisionTree
    from actors.nodes import ActorHost, Link, LocalNode, RemoteNode, SupervisedActor

__all__ = ["NodeServices", "NodeServicesHost"]


class NodeServicesHost(Protocol):
    """The core, as its nodes see it."""

    loop: Loop
    runtime: ActorHost
    local: LocalNode | None
    registry: Registry
    lives: dict[int, SupervisedActor]
    nodes: dict[str, RemoteNode]
    runs: dict[str, RemoteRun]
    listeners: list[ListenerController]
    spawning: Placement
    tree: SupervisionTree
    end: Callable[[], None]

    async def stop_node(self, name: str, grace: float | None) -> None: ...
    async def drain_node(self, name: str, grace: float | None) -> None: ...
    def kill_node(self, name: str) -> None: ...

    def event(self, kind: str, facts: dict[str, Any]) -> None: ...
    async def claim(self, ref: Ref[Any]) -> None: ...


class NodeServices:
    """Answers calls and takes notes of every node."""

    def __init__(self, core: NodeServicesHost) -> None:
        self._core = core
        # How often each pair of runs was connected: both may ask, one pair of sockets is made.
        self._connected: dict[frozenset[tuple[str, int]], int] = {}

    def register(self) -> None:
        """Have the runtime bring us what nodes say."""
        core = self._core
        core.runtime.calls.update(
            spawn=self._spawn,
            lookup=self._lookup,
            pool=self._pool,
            claim=self._claim,
            wait_life=self._wait_life,
            tree=self._tree,
            stop=self._stop,
            stop_node=self._stop_node,
            drain_node=self._drain_node,
        )
        core.runtime.notes.update(
            ready=lambda link: self._on(link, RemoteRun.child_is_ready),
            beat=lambda link, watched: self._on(link, lambda run: run.child_beats(watched=watched)),
            over_rss=lambda link, rss: self._on(link, lambda run: run.child_over_rss(rss)),
            stacks=self._stacks,
            boot_failed=lambda link, text: self._on(link, lambda run: run.child_failed(text)),
            actor_ended=lambda link, uid, end, voluntary: self._on(
                link, lambda run: run.node.actor_ended(uid, end, voluntary=voluntary)
            ),
            event=lambda _, kind, facts: core.event(kind, facts),
            unclaim=lambda _, name, uid: core.registry.release(name, uid),
            connect=self._connect,
            kill_node=lambda link: core.kill_node(self._name(link)),
            told=lambda link, *told: self._routed("told", link, *told),
            counted=lambda link, *told: self._routed("counted", link, *told),
        )

    def _on(self, link: Link, act: Callable[[RemoteRun], object]) -> None:
        run = self._core.runs.get(link.peer)
        if run is not None:
            act(run)

    def _stacks(self, link: Link, fd: int) -> None:
        run = self._core.runs.get(link.peer)
        if run is None:
            os.close(fd)
        else:
            run.child_stacks(fd)

    def _name(self, link: Link) -> str:
        run = self._core.runs.get(link.peer)
        return link.peer if run is None else run.node.name

    def _routed(self, what: str, link: Link, listener: str, *told: Any) -> None:
        for listening in self._core.listeners:
            if listening.spec.name == listener and listening.router is not None:
                getattr(listening.router, what)(link.peer, *told)

    async def _spawn(
        self, _link: Link, path: str, arguments: list[bytes], options: dict[str, Any]
    ) -> Ref[Any]:
        request = ActorRequest(path=path, cls=None, arguments=arguments, **options)
        return await self._core.spawning.spawn(request)

    async def _lookup(self, _link: Link, name: str) -> Ref[Any] | None:
        return await self._core.registry.find(name)

    async def _pool(self, _link: Link, name: str) -> Pool[Any] | None:
        return await self._core.spawning.pool(name)

    async def _claim(self, _link: Link, ref: Ref[Any]) -> None:
        await self._core.claim(ref)

    async def _wait_life(self, _link: Link, uid: int) -> Exit:
        core = self._core
        life = core.lives.get(uid)
        if life is None:
            return core.runtime.ended.get(uid, Exit.NODE_DOWN("it ended long ago"))
        waiter = core.loop.waiter()
        cancel = life.watch(lambda end: None if waiter.done() else waiter.set_result(end))
        try:
            end: Exit = await waiter
        finally:
            cancel()
        return end

    async def _tree(self, _link: Link) -> dict[str, Any]:
        return await whole_tree(self._core)

    async def _stop(self, _link: Link) -> None:
        self._core.end()

    async def _stop_node(self, link: Link, grace: float | None) -> None:
        """End the asker's node; it is not waited for here, as it ends when whoever asks is done."""
        name = self._name(link)
        self._core.loop.start(partial(self._core.stop_node, name, grace), name=f"stop {name}")

    async def _drain_node(self, link: Link, grace: float | None) -> None:
        await self._core.drain_node(self._name(link), grace)

    def _connect(self, link: Link, name: str, times: int) -> None:
        """Hand both ends of a new socket pair or passage out, unless the asker has one on its way.

        Args:
            link: the asker's.
            name: the address it wants to talk to.
            times: how many links to that run of it the asker has had.
        """
        core = self._core
        asker, asked = core.runs.get(link.peer), core.runs.get(name)
        if asker is None:
            return
        if asked is None or asked.link is None or asked.state is not NodeState.READY:
            peer = core.runtime.peer(name)
            why = peer.why if asked is not None else "there is no such node"
            link.note("node_down", name, why, asked is not None and peer.restarting)
            return
        both = frozenset({(asker.address, asker.number), (asked.address, asked.number)})
        if times < self._connected.get(both, 0):
            return
        running = {(run.address, run.number) for run in core.runs.values()}
        self._connected = {known: n for known, n in self._connected.items() if known <= running}
        here = asker.node.spec.kind == asked.node.spec.kind == "thread"
        ours, theirs = endpoint_pair() if here else pair()
        try:
            _hand_out(asked.link, asker.address, theirs)
        except (ChannelBroken, ChannelClosed) as error:
            # Its link has ended, and soon it is known how it did itself. The asker, on whose link
            # this runs, must not end for that.
            ours.close()
            link.note("node_down", name, str(error), True)
            return
        self._connected[both] = times + 1
        _hand_out(link, asked.address, ours)


def _hand_out(link: Link, peer: str, way: socket.socket | Endpoint) -> None:
    """Give a node its end of a new link to *peer*."""
    if isinstance(way, Endpoint):
        link.hand("peer", peer, way)
    else:
        link.note("peer", peer, fds=(way.detach(),))
