"""A listener of the system: the router in the parent, its servers on the nodes, and the links between."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import fail_after, move_on_after, sleep

from actors._base.completion import Completion
from actors._base.errors import ActorsError, BootFailed, NodeDown
from actors._base.run_loop import new_task_group
from actors._remoting import listener_operations as ops
from actors._remoting.router_node import LinkedRouterNode
from actors.routing import (
    HandlerNotFound,
    HandlerUnfit,
    HandOverFailed,
    Listener,
    Listening,
    Router,
    Sticky,
    StillStarting,
    new_router,
    node_policy,
)
from actors.supervisors import Exit
from actors.transport import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors.nodes import Link, RemoteNode, RemoteRun
    from actors.routing import AnyRouter, RouterStats

__all__ = ["ListenerController", "ListenerHost", "ListenerRun"]

_PATIENCE: Final = 5.0
"""Seconds after which a handler or application that is still starting is reported."""
_HANDED_OVER: Final = 1.0
"""Seconds in which connections that came last are handed to nodes, before these drain."""
_LOOKS_EVERY: Final = 0.005
_ANSWER: Final = 2.0
"""Seconds after its `shutdown` in which a node says that it has drained."""


class ListenerHost(Protocol):
    """The system, as its listeners see it."""

    @property
    def loop(self) -> Loop: ...
    def group(self, name: str) -> list[RemoteNode]: ...
    def report(self, record: Any) -> None: ...
    @property
    def machines(self) -> FarRouters: ...


class FarRouters(Protocol):
    """Other machines, if the system has nodes there."""

    def new_router(self, spec: Listener) -> FarRouter | None: ...


class FarRouter(Protocol):
    """The routers of a listener on other machines; `Router` says what each method promises."""

    async def open_all(self) -> None: ...
    def add_node(self, node: _RouterNode) -> None: ...
    def remove_node(self, node: _RouterNode, *, dead: bool) -> None: ...
    def resume_node(self, node: _RouterNode) -> None: ...
    async def settled(self) -> None: ...
    def sharing(self, node: _RouterNode, every: set[int]) -> set[int]: ...
    def keep_slots(self, slots: set[int]) -> None: ...
    async def stop_all(self) -> None: ...
    def close(self) -> None: ...
    def snapshot(self) -> RouterStats: ...
    @property
    def at_places(self) -> list[dict[str, Any]]: ...


class _RouterNode(LinkedRouterNode):
    """One run of a node, over its link to this process."""

    def __init__(self, run: RemoteRun) -> None:
        assert run.link is not None
        super().__init__(run.address, run.node.slot, run.link)
        self.run = run


class ListenerController:
    """One listener over all its restarts; knows which nodes have its server."""

    def __init__(self, host: ListenerHost, spec: Listener) -> None:
        self.host = host
        self.spec = spec
        self.router: AnyRouter | None = None
        """The one of this process."""
        self.far_router: FarRouter | None = None
        """Those of other machines, of a group that is on these."""
        self.active: bool = False
        self._prepared: set[int] = set()
        """Numbers of the runs that have imported the handler."""
        self._nodes: dict[str, _RouterNode] = {}

    @property
    def any_router(self) -> AnyRouter | FarRouter | None:
        """What gives connections to the nodes, while it is open."""
        return self.router or self.far_router

    @property
    def shutdown(self) -> float:
        """Seconds that the nodes have to finish their connections."""
        return max((node.spec.shutdown for node in self.host.group(self.spec.nodes)), default=5.0)

    def new_run(self) -> ListenerRun:
        """Make the next run, for the supervisor."""
        return ListenerRun(self)

    async def open(self) -> None:
        """Have every node of the group ready to serve, then open the port.

        Raises:
            ListenFailed: the address cannot be bound.
            RoutingError: a node cannot import or start the handler.
        """
        self.active = True
        # In a loop, because a node may become ready meanwhile; one that boots later prepares itself.
        while unprepared := [run for run in self._group() if run.number not in self._prepared]:
            for run in unprepared:
                await self._prepare_in_time(run)
        try:
            await self._open_router()
        except BaseException:
            self.router = self.far_router = None
            raise
        for run in self._group():
            self.node_ready(run)
        if self.far_router is not None:
            await self.far_router.settled()

    async def _open_router(self) -> None:
        self.far_router = self.host.machines.new_router(self.spec)
        if self.far_router is not None:
            await self.far_router.open_all()
        else:
            self.router = new_router(self.spec, self.host.loop, self._report)
            self.router.open()

    async def _prepare_in_time(self, run: RemoteRun) -> None:
        """Start the server on a node that is ready for all else; its boot has limited that before."""
        seconds = run.node.spec.boot_timeout
        try:
            with fail_after(seconds):
                await self.prepare(run)
        except TimeoutError as error:
            raise BootFailed(run.not_ready_after(seconds)) from error

    def _group(self) -> list[RemoteRun]:
        """Return the run of each node of the group that takes connections."""
        fronts = [node.accepting_run for node in self.host.group(self.spec.nodes)]
        return [run for run in fronts if run is not None]

    async def prepare(self, run: RemoteRun) -> None:
        """Start the server on *run*; part of its boot while the listener is open or opening."""
        assert run.link is not None
        run.doing = (
            f"it has not started {self.spec.path!r} yet, which may hang in its import or lifespan"
        )
        after = min(_PATIENCE, run.node.spec.boot_timeout / 2)
        slow = StillStarting(self.spec.name, run.node.name, self.spec.path, after)
        timer = self.host.loop.call_later(after, self.host.report, slow)
        try:
            spec = replace(self.spec, policy=node_policy(self.spec.policy))
            await run.link.call(ops.serve_listener, spec)
        except NodeDown as error:
            why = f"node {run.node.name} ended while it imported {self.spec.path!r}"
            raise BootFailed(f"{why}: {run.last_end or error.why}") from error
        except (HandlerNotFound, HandlerUnfit) as error:
            if run.node.place:  # the code there may be other code
                error.why += f" (on node {run.node.name} at place {run.node.place})"
            raise
        finally:
            timer.cancel()
        if run.node.spec.ready is not None:
            run.doing = f"its check {run.node.spec.ready!r} says no"
            await run.link.call(ops.become_ready)
        run.doing = ""
        self._prepared.add(run.number)

    def node_ready(self, run: RemoteRun) -> None:
        """Give *run* connections, if it has the server; the run it replaces gets no more."""
        if self.any_router is not None and run.number in self._prepared:
            node = self._nodes[run.address] = _RouterNode(run)
            self._send_slots(joining=node)
            self._send_bindings(node)
            self.any_router.add_node(node)

    def node_draining(self, run: RemoteRun) -> None:
        """Give *run* no more connections; it finishes those it has."""
        node = self._nodes.get(run.address)
        if self.any_router is not None and node is not None:
            self.any_router.remove_node(node, dead=False)
            self._send_slots()

    def node_resumed(self, run: RemoteRun) -> None:
        """Give *run* connections again, which has got none for a while."""
        node = self._nodes.get(run.address)
        if self.any_router is not None and node is not None:
            self.any_router.resume_node(node)
            self._send_slots()

    def node_ended(self, run: RemoteRun) -> None:
        """Forget *run*, whose process is gone."""
        self._prepared.discard(run.number)
        node = self._nodes.pop(run.address, None)
        if self.any_router is not None and node is not None:
            self.any_router.remove_node(node, dead=True)
            self._send_slots()

    def _send_slots(self, joining: _RouterNode | None = None) -> None:
        """Under `Sticky` tell every node which slots share the keys."""
        if self.any_router is None or type(self.spec.policy) is not Sticky:
            return
        live = {node.slot for node in self.any_router.snapshot().nodes if node.ready}
        if joining is not None:
            live.add(joining.slot)
        group = self.host.group(self.spec.nodes)
        every = live | {node.slot for node in group if not (node.lost or node.leaving)}
        for node in list(self._nodes.values()):
            shared = every if self.far_router is None else self.far_router.sharing(node, every)
            node.send_slots(self.spec.name, sorted(live & shared), sorted(shared))
        if isinstance(self.router, Router):
            self.router.keep_slots(every)
        elif self.far_router is not None:
            self.far_router.keep_slots(every)

    def _send_bindings(self, node: _RouterNode) -> None:
        """Under `Sticky` have *node* see the keys that applications have made."""
        router = self.router
        if isinstance(router, Router) and router.bindings_fd is not None:
            try:
                node.send_bindings(self.spec.name, router.bindings_fd)
            except (OSError, TransportError) as error:  # it judges by the hash then
                self.host.report(HandOverFailed(self.spec.name, node.name, error))

    def _report(self, record: Any) -> None:
        if isinstance(record, Listening):
            record = replace(record, count=len(self.host.group(self.spec.nodes)))
        self.host.report(record)

    async def drain(self) -> None:
        """Take no more connections, let the nodes finish what they have, then close."""
        router = self.any_router
        if router is None:
            return
        if self.far_router is not None:
            await self.far_router.stop_all()
        else:
            assert self.router is not None
            self.router.stop_listening()
            await self._hand_over_rest(self.router)
        for node in self._nodes.values():
            router.remove_node(node, dead=False)
        async with new_task_group() as tasks:
            for run in self._group():
                tasks.start_soon(self.drain_run, run, run.node.spec.shutdown)
        self.close()

    async def _hand_over_rest(self, router: AnyRouter) -> None:
        """Have the nodes take the connections that came last, also of those whose request is on its way."""
        if not isinstance(router, Router):
            return  # the nodes have them already
        with move_on_after(min(_HANDED_OVER, self.shutdown)):
            while _waits_for_node(router):  # noqa: ASYNC110 - nobody else asks when the last has gone
                await sleep(_LOOKS_EVERY)

    async def drain_run(self, run: RemoteRun, seconds: float) -> None:
        """Wait until *run* has finished its connections; it aborts them after *seconds*."""
        if run.link is None:
            return
        try:
            with move_on_after(seconds + _ANSWER):
                await run.link.call(ops.drain_listener, self.spec.name, seconds)
        except ActorsError:
            return  # the node is gone, and its connections with it

    async def end_servers(self) -> None:
        """Have no node serve it any more, now that it is closed for good."""
        async with new_task_group() as tasks:
            for node in self.host.group(self.spec.nodes):
                run = node.accepting_run
                if run is not None and run.link is not None and run.number in self._prepared:
                    tasks.start_soon(self._end_server, run.link)
        self._prepared.clear()

    async def _end_server(self, link: Link) -> None:
        with suppress(ActorsError):  # the node has ended, and all of it
            await link.call(ops.stop_server, self.spec.name)

    def close(self) -> None:
        """Close the port and every connection that no node has acknowledged."""
        router, self.router, self.far_router = self.any_router, None, None
        self.active = False
        self._nodes.clear()
        if router is not None:
            router.close()


def _waits_for_node(router: Router) -> bool:
    """Whether there are connections that have not been handed over, and nodes that would take them."""
    stats = router.snapshot()
    queued = stats.peeking or stats.pending or any(node.queued for node in stats.nodes)
    return bool(queued) and any(node.ready for node in stats.nodes)


class ListenerRun:
    """One run of a listener, as a `supervisors.Child`."""

    def __init__(self, controller: ListenerController) -> None:
        self.controller = controller
        self._loop = controller.host.loop
        self._completion = Completion(self._loop.waiter)
        self._draining = False

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Open the listener; see `ListenerController.open`."""
        await self.controller.open()
        self._completion.on_done = ended

    async def wait(self) -> Exit:
        """Wait until it is closed."""
        return await self._completion.wait()

    def stop(self) -> None:
        """Drain, then close."""
        if not self._draining:
            self._draining = True
            self._loop.start(self._drain, name=f"drain {self.controller.spec.name}")

    async def _drain(self) -> None:
        try:
            await self.controller.drain()
        finally:
            self._finish(Exit.SHUTDOWN)

    def kill(self) -> None:
        """Close at once."""
        self.controller.close()
        self._finish(Exit.KILLED)

    def _finish(self, end: Exit) -> None:
        if self._completion.set(end):
            self._completion.announce()
