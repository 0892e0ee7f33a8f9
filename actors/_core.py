"""The core of a system, in the process that made it: nodes, names, lives, supervisors, listeners.

Rule 1: this is where the floors are put together; policy is below, the public face above.
Rule 2: every node asks here for what only one place can decide: names, placement, restarts.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any, Final

from supervisors import Backoff, Exit, Restart, StartFailed as NotStarted
from transport import pair

from ._cpus import cpu_budget
from ._errors import InvalidSpec, NodeDown, SystemStopped
from ._events import Event, EventBus, event_of
from ._listening import Listening
from ._ref import Ref
from ._registry import Registry
from ._reporting import LogSubscriber
from ._tree import Tree
from .nodes import (
    Launcher,
    Life,
    Link,
    LocalNode,
    NodeFamily,
    Peer,
    ProcessNode,
    Runtime,
    check_actor_options,
    class_path,
    describe_main,
    keep_arguments,
    main_problem,
    nodes,
    pack_arguments,
    unpack_arguments,
)
from .routing import owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from ._loop import Loop
    from ._topology import ActorSpec, Topology
    from .nodes import NodesSpec

__all__ = ["MAIN_GROUP", "Core", "check_travels", "first_cause"]

MAIN_GROUP: Final = "main"
"""The group that unplaced actors run on when the parent is to stay free of user code."""

_IF_EXISTS: Final = ("raise", "return")


class Core:
    """One running system."""

    node_module = "actors._node_main"

    def __init__(
        self,
        topology: Topology,
        loop: Loop,
        tasks: TaskGroup,
        *,
        end: Callable[[], None],
        local: bool,
    ) -> None:
        name = "local" if local else "system"
        self.topology = topology
        self.tasks = tasks
        self.end = end
        self.loop = loop
        self.runtime = Runtime(name, 0, loop, may_import=local)
        self.runtime.authority = self
        self.runtime.link_ended = self.link_ended
        self.launcher = Launcher(loop)
        self.bus = EventBus(loop)
        self.bus.subscribe(LogSubscriber(loop.now))
        self.registry = Registry(loop.waiter)
        self.lives: dict[int, Life] = {}
        self.local = LocalNode(self.runtime) if local else None
        self.nodes: dict[str, ProcessNode] = {}
        self.listeners: list[Listening] = []
        self.tree = Tree(self)
        self.stopping = False
        self._numbers = itertools.count(1)
        self._connected: set[frozenset[tuple[str, int]]] = set()
        self._turns = itertools.count()
        self.runtime.new_family = self._new_family
        self._serve_nodes()

    def _serve_nodes(self) -> None:
        calls, notes = self.runtime.calls, self.runtime.notes
        calls.update(spawn=self._call_spawn, lookup=self._call_lookup, claim=self._call_claim)
        calls.update(wait_life=self._call_wait_life, tree=self._call_tree, stop=self._call_stop)
        notes.update(
            ready=lambda link: self._on(link, ProcessNode.child_is_ready),
            boot_failed=lambda link, text: self._on(link, lambda node: node.child_failed(text)),
            actor_ended=lambda link, uid, end, voluntary: self._on(
                link, lambda node: node.actor_ended(uid, end, voluntary=voluntary)
            ),
            event=lambda _, kind, facts: self.event(kind, facts),
            unclaim=lambda _, name, uid: self.registry.release(name, uid),
            connect=self._note_connect,
            acknowledged=lambda link, listener, number: self._routed(
                link, "acknowledged", listener, number
            ),
            refused=lambda link, listener, number: self._routed(link, "refused", listener, number),
            closed=lambda link, listener, number: self._routed(link, "closed", listener, number),
        )

    def _on(self, link: Link, act: Callable[[ProcessNode], object]) -> None:
        node = self.nodes.get(link.peer)
        if node is not None:
            act(node)

    def _routed(self, link: Link, what: str, listener: str, number: int) -> None:
        for listening in self.listeners:
            if listening.spec.name == listener and listening.router is not None:
                getattr(listening.router, what)(link.peer, number)

    # -- reports ---------------------------------------------------------------------------

    def report(self, record: Any) -> None:
        """Pass on what a lower floor reports."""
        self.bus.report(event_of(record, self.loop.now()))

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Report something that has no record of its own."""
        self.bus.report(Event(kind, facts, self.loop.now()))

    # -- start and stop ----------------------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start nodes, tree and listeners, in this order.

        Raises:
            ActorsError: what failed first, as it was told; what had been started is stopped again.
        """
        warning = cpu_budget(self.topology.nodes)
        if warning:
            self.event("cpu_budget", warning)
        for spec in self.topology.nodes:
            self.add_group(spec)
        if self.local is None and self.topology.has_unplaced and not self.group(MAIN_GROUP):
            self.add_group(nodes(MAIN_GROUP))
        self.listeners = [Listening(self, spec) for spec in self.topology.listeners]
        try:
            await self.tree.start(ended)
        except NotStarted as error:
            raise first_cause(error) from error
        self.event("system_ready", {"nodes": len(self.nodes), "listeners": len(self.listeners)})

    async def stop(self) -> None:
        """Stop everything in reverse; returns when nothing of the system is left."""
        self.stopping = True
        await self.tree.stop()
        for life in list(self.lives.values()):
            life.gone(Exit.SHUTDOWN)
        for cell in list(self.runtime.cells.values()):
            cell.release(Exit.SHUTDOWN)
        self.launcher.close()
        self.event("system_stopped", {})
        self.bus.close()

    # -- nodes ---------------------------------------------------------------------------------

    def add_group(self, spec: NodesSpec) -> list[ProcessNode]:
        """Make the nodes of a group known; the tree starts them."""
        added = [ProcessNode(self, spec, slot) for slot in range(spec.count)]
        for node in added:
            self.nodes[node.name] = node
            self.runtime.peer(node.name).down("not started yet", restarting=True)
        return added

    def group(self, name: str) -> list[ProcessNode]:
        """Return the nodes of a group, by slot."""
        return [node for node in self.nodes.values() if node.group == name]

    def new_node_number(self) -> int:
        """Return a number that no run of any node had before."""
        return next(self._numbers)

    def node_config(self) -> dict[str, Any]:
        """Return what every node is told at its start."""
        return {
            "parent": self.runtime.name,
            "path": [path or "." for path in sys.path],
            "main": describe_main(),
            "down": [node.name for node in self.nodes.values() if not node.ready],
        }

    async def prepare(self, node: ProcessNode) -> None:
        """Do what belongs to a node's boot before it counts as ready."""
        for listening in self.listeners:
            if listening.router is not None and listening.spec.nodes == node.group:
                await listening.prepare(node)

    def node_ready(self, node: ProcessNode) -> None:
        """A node is ready: make room on it for what will be restarted there, then tell everybody."""
        for life in self.lives.values():
            if life.place is node:
                ref = life.ref
                node.link.note("expect", ref.uid, ref.name, ref.cls_path, ref.mailbox)
        self.runtime.peer(node.name).up(node.link)
        self._tell_nodes(node, "node_up", node.name)
        self.event("node_ready", {"node": node.name, "pid": node.pid, "restarts": node.restarts})
        self.loop.call_soon(self._seat, node)

    def _seat(self, node: ProcessNode) -> None:
        for listening in self.listeners:
            listening.node_ready(node)

    def node_ended(
        self, node: ProcessNode, link: Link | None, why: str, *, restarting: bool
    ) -> None:
        """A node's process is gone: tell everybody who counted on it, once."""
        restarting = restarting and not self.stopping
        node.restarts += restarting
        self.event("node_ended" if not restarting else "node_died", {"node": node.name, "why": why})
        peer = self.runtime.peer(node.name)
        peer.down(why, restarting=restarting)
        if link is not None:
            peer.drop(link)
        self._tell_nodes(node, "node_down", node.name, why, restarting)
        for listening in self.listeners:
            listening.node_ended(node)
        for name in list(self.registry):
            ref = self.registry.get(name)
            if ref is not None and ref.uid >> 32 == node.number:
                self.registry.release(name, ref.uid)
        lost, node.ended = node.ended, {}
        for ended in lost.values():
            ended(Exit.NODE_DOWN(f"{node.name}: {why}"), False)

    def node_given_up(self, node: ProcessNode) -> None:
        """A node will not come back."""
        node.lost = True
        if not self.stopping:
            self.runtime.peer(node.name).down("given up", restarting=False)
            self._tell_nodes(node, "node_down", node.name, "given up", False)
        node.changed()

    def _tell_nodes(self, about: ProcessNode, op: str, *args: Any) -> None:
        for node in self.nodes.values():
            if node is not about and node.run is not None and node.run.link is not None:
                node.run.link.note(op, *args)

    def write_line(self, _node: ProcessNode, line: str) -> None:
        """Write a node's line among our own."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def link_ended(self, link: Link) -> None:
        """A link to a node is at its end; what hung on it is told when it is known how the node ended."""
        node = self.nodes.get(link.peer)
        if node is not None and node.run is not None and node.run.link is link:
            node.run.link_ended()

    # -- what the runtime asks (Authority) --------------------------------------------------------

    def connect(self, peer: Peer) -> Link:
        """Refuse: every node of this system has a link already, and there are no others."""
        raise NodeDown(peer.name, f"there is no node {peer.name!r}", node=peer.name)

    def watch_life(
        self, ref: Ref[Any], notice: Callable[[Exit], None], why: str
    ) -> Callable[[], None]:
        """Watch an actor whose node is gone."""
        life = self.lives.get(ref.uid)
        if life is None:
            notice(self.runtime.ended.get(ref.uid) or Exit.NODE_DOWN(why))
            return lambda: None
        return life.watch(notice)

    def unclaim(self, ref: Ref[Any]) -> None:
        """Give a name back."""
        self.registry.release(ref.name, ref.uid)

    async def claim(self, ref: Ref[Any]) -> None:
        """Take a name for an actor somebody else supervises."""
        self.registry.claim(ref.name)
        self.registry.settle(ref.name, ref)

    async def _new_family(self, name: str) -> NodeFamily:
        assert self.local is not None
        return await NodeFamily(self.runtime, self.local, name, self.tasks).open()

    # -- actors ----------------------------------------------------------------------------------

    def place_for(self, on: str | None, name: str | None) -> LocalNode | ProcessNode:
        """Return where an actor goes: a node, or by its name one of a group.

        Raises:
            InvalidSpec: there is no such node or group.
            NodeDown: it is not ready.
        """
        if on is None:
            if self.local is not None:
                return self.local
            on = MAIN_GROUP
        if self.local is not None and on == self.local.name:
            return self.local
        node = self.nodes.get(on)
        if node is None:
            members = self.group(on)
            if not members:
                known = sorted({*self.nodes, *(item.group for item in self.nodes.values())})
                raise InvalidSpec(
                    f"on={on!r} is no node or group; there are {', '.join(known) or 'none'}"
                )
            node = self._one_of(members, name)
        if not node.ready:
            raise self.runtime.peer(node.name).down_error(name or node.name, None)
        return node

    def _one_of(self, members: list[ProcessNode], name: str | None) -> ProcessNode:
        """Choose a slot: by name where there is one, so that it is the same after a restart; else in turn."""
        ready = [node for node in members if node.ready] or members
        if name is None:
            return ready[next(self._turns) % len(ready)]
        slot = owner(name.encode(), [node.slot for node in ready])
        return next(node for node in ready if node.slot == slot)

    async def spawn(
        self,
        path: str,
        cls: type | None,
        arguments: list[bytes] | tuple[tuple[Any, ...], dict[str, Any]],
        *,
        name: str | None,
        on: str | None,
        restart: Restart | None,
        backoff: Backoff | None,
        mailbox: int,
        shutdown: float,
        if_exists: str,
    ) -> Ref[Any]:
        """Start an actor under the system's dynamic supervisor; see `System.spawn`."""
        if self.stopping:
            raise SystemStopped("the system is stopping: it starts no more actors")
        if if_exists not in _IF_EXISTS:
            raise InvalidSpec(f"if_exists must be 'raise' or 'return', got {if_exists!r}")
        if name is not None:
            if if_exists == "return":
                found = await self.registry.find(name)
                if found is not None:
                    return found
            self.registry.claim(name)
        ref: Ref[Any] | None = None
        try:
            await self.ensure_main(on)
            place = self.place_for(on, name)
            life = self.new_life(place, path, cls, arguments, name, mailbox)
            ref = life.ref
            await self.tree.add_actor(
                life, restart or Restart.TRANSIENT, backoff or Backoff(), shutdown
            )
        except BaseException as error:
            if ref is not None and ref.uid in self.lives:
                self.lives[ref.uid].gone(Exit.KILLED)
            ref = None
            if isinstance(error, NotStarted):
                raise first_cause(error) from error
            raise
        finally:
            if name is not None:
                self.registry.settle(name, ref)
        return ref

    async def ensure_main(self, on: str | None) -> None:
        """Start the group for unplaced actors when the first one comes."""
        if on in {None, MAIN_GROUP} and self.local is None and not self.group(MAIN_GROUP):
            await self.tree.add_nodes(self.add_group(nodes(MAIN_GROUP)))

    def new_life(
        self,
        place: LocalNode | ProcessNode,
        path: str,
        cls: type | None,
        arguments: list[bytes] | tuple[tuple[Any, ...], dict[str, Any]],
        name: str | None,
        mailbox: int,
    ) -> Life:
        """Make the books of one actor; its cell, where it is ours, takes messages from now on."""
        uid = self.runtime.new_uid()
        name = name or f"{path.rpartition('.')[2].rpartition(':')[2]}-{uid}"
        if isinstance(place, LocalNode):
            life = self._local_life(place, uid, path, cls, arguments, name, mailbox)
        else:
            if isinstance(arguments, tuple):
                check_travels(path, cls)
                arguments = pack_arguments(self.runtime, *arguments)
            ref: Ref[Any] = Ref(self.runtime, uid, place.name, name, path, mailbox, cls)
            life = Life(self, place, ref, cls, arguments=arguments)
        self.lives[uid] = life
        return life

    def _local_life(
        self,
        place: LocalNode,
        uid: int,
        path: str,
        cls: type | None,
        arguments: list[bytes] | tuple[tuple[Any, ...], dict[str, Any]],
        name: str,
        mailbox: int,
    ) -> Life:
        if isinstance(arguments, list):
            arguments = unpack_arguments(self.runtime, arguments)
        args, kwargs = keep_arguments(*arguments)
        cls = cls or self.runtime.resolve_class(*path.split(":"))
        cell = self.runtime.new_cell(uid, name, cls, mailbox)
        return Life(self, place, cell.ref, cls, args, kwargs)

    def life_of(self, spec: ActorSpec) -> Life:
        """Make the books of a static child, by its spec."""
        place = self.place_for(spec.on, spec.name)
        self.registry.claim(spec.name)
        path = class_path(spec.cls)
        life = self.new_life(
            place, path, spec.cls, (spec.args, dict(spec.kwargs)), spec.name, spec.mailbox
        )
        self.registry.settle(spec.name, life.ref)
        return life

    def life_ended(self, life: Life, end: Exit) -> None:
        """An actor is over for good: free its name before anybody hears of it."""
        self.lives.pop(life.ref.uid, None)
        self.runtime.ended[life.ref.uid] = end
        self.registry.release(life.ref.name, life.ref.uid)

    # -- what nodes ask ------------------------------------------------------------------------

    async def _call_spawn(
        self, _link: Link, path: str, arguments: list[bytes], options: dict[str, Any]
    ) -> Ref[Any]:
        return await self.spawn(path, None, arguments, **options)

    async def _call_lookup(self, _link: Link, name: str) -> Ref[Any] | None:
        return await self.registry.find(name)

    async def _call_claim(self, _link: Link, ref: Ref[Any]) -> None:
        await self.claim(ref)

    async def _call_wait_life(self, _link: Link, uid: int) -> Exit:
        waiter = self.loop.waiter()
        life = self.lives.get(uid)
        if life is None:
            return self.runtime.ended.get(uid, Exit.NODE_DOWN("it ended long ago"))
        life.watch(lambda end: None if waiter.done() else waiter.set_result(end))
        return await waiter  # type: ignore[no-any-return] # a waiter is untyped

    async def _call_tree(self, _link: Link) -> dict[str, Any]:
        return self.tree.describe()

    async def _call_stop(self, _link: Link) -> None:
        self.end()

    def _note_connect(self, link: Link, name: str) -> None:
        """Hand both ends of a new socket pair out; a pair of runs gets one only."""
        asker, asked = self.nodes.get(link.peer), self.nodes.get(name)
        if asker is None:
            return
        if asked is None or not asked.ready:
            peer = self.runtime.peer(name)
            why = peer.why if asked is not None else "there is no such node"
            link.note("node_down", name, why, asked is not None and peer.restarting)
            return
        both = frozenset({(asker.name, asker.number), (asked.name, asked.number)})
        if both in self._connected:
            return
        self._connected.add(both)
        ours, theirs = pair()
        link.note("peer", asked.name, fds=(ours.detach(),))
        asked.link.note("peer", asker.name, fds=(theirs.detach(),))


def check_travels(path: str, cls: type | None) -> None:
    """Refuse a class that another process could not import, by name.

    Raises:
        InvalidSpec: it is defined in a function, or in a main that is no file.
    """
    if "<locals>" in path:
        raise InvalidSpec(
            f"{path} is defined inside a function: a process node cannot import it; move it to a module"
        )
    if path.startswith("__main__:") and (problem := main_problem()):
        raise InvalidSpec(f"{path.rpartition(':')[2]} cannot run on a process node: {problem}")
    check_actor_options(cls, None, 1)


def first_cause(error: BaseException) -> BaseException:
    """Return what a chain of failed starts began with."""
    while isinstance(error, NotStarted) and error.__cause__ is not None:
        error = error.__cause__
    return error
