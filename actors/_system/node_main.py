"""`python -m actors._system.node_main FD`: what a process node runs. Not for people: it needs its parent."""

from __future__ import annotations

import gc
import os
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from anyio import create_task_group, current_time, move_on_after

from actors._base.errors import ActorsError
from actors._base.run_loop import open_loop, run_on
from actors._messaging.blocking_ref import ThreadPortal
from actors._system.system import System
from actors.nodes import BOOT_FAILED, NodeProcess, boot_config, class_path, families, pack_arguments
from actors.routing import AckBatcher, SocketServer, import_handler, nearly_full, serve
from actors.transport import Local

if TYPE_CHECKING:
    from actors._base.events import EventStream
    from actors._system.supervisor_handle import SupervisorHandle
    from actors.nodes import ChildActors, Link, LocalNode, Node, NodesSpec
    from actors.routing import Listener, Server

__all__ = ["main", "run_thread"]

_CONNECTIONS: Final = 0.5
"""The part of its time in which a node that leaves lets connections end, if it has actors as well."""
_PATIENCE: Final = 0.75
"""The part of that in which clients end connections themselves."""
_ENDING: Final = 0.125
"""How much longer than they may finish their work, as a part of that, actors may take to end."""


def main(lifeline: int) -> None:
    """Boot from what the parent writes on the lifeline, and run until told to end."""
    config = boot_config(lifeline)
    if not run_on(_serve, config, True, backend=config["backend"], uvloop=config["uvloop"]):
        os._exit(BOOT_FAILED)


def run_thread(config: dict[str, Any]) -> None:
    """Run a thread node until told to end."""
    run_on(_serve, config, False, backend=config["backend"], uvloop=config["uvloop"])


async def _serve(config: dict[str, Any], alone: bool) -> bool:  # noqa: FBT001 - passed on by position
    """Serve the parent, *alone* in its process or not; return whether the node had got ready."""
    async with open_loop() as loop, create_task_group() as tasks:
        node = NodeProcess(config, loop, tasks)
        try:
            node.attach(config["link"])
            if alone:
                node.show_stacks()
            access = NodeAccess(node)
        except Exception:  # noqa: BLE001 - told to the parent, which words it
            node.parent.note("boot_failed", traceback.format_exc())
            node.parent.close()
            return False
        node.parent.note("ready")
        node.heart.start()
        if alone:
            # What is imported stays: the collector need not look at it again.
            gc.freeze()
        try:
            await access.done
        finally:
            node.heart.stop()
            access.unseat()
            access.threads.close()
            node.runtime.memory.close()
            # All of them: the sockets of a thread's links are those of the whole process.
            node.runtime.close_links()
        tasks.cancel_scope.cancel()
    return True


class NodeAccess:
    """How the System of a node reaches the core: by asking its parent; and this node's servers."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._parent = node.parent
        self._family: ChildActors | None = None
        self._servers: dict[str, Server] = {}
        self._tellings: dict[str, AckBatcher] = {}
        self.local: LocalNode = node.local
        self.threads = ThreadPortal(node.runtime.loop, node.runtime.propagation)
        self.topics = node.runtime.topics
        self.done = node.runtime.loop.waiter()
        self._ending = False
        node.runtime.system = System.on_node(self)
        node.runtime.calls.update(serve=self._call_serve, drain=self._call_drain)
        node.runtime.calls.update(families=self._call_families)
        node.runtime.notes.update(connections=self._note_connections, shutdown=self._note_shutdown)
        node.runtime.notes.update(leave=self._note_leave, slots=self._note_slots)
        node.runtime.notes.update(seat=self._note_seat, unseat=self._note_unseat)
        node.runtime.notes.update(end_now=lambda _link: self._done())

    # -- what the System of this node offers ----------------------------------------------------

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        """Have the parent start an actor; one that holds local values is this node's own."""
        if any(type(value) is Local for value in (*args, *kwargs.values())):
            return await self._spawn_here(cls, args, kwargs, options)
        arguments = pack_arguments(self._node.runtime, args, kwargs)
        return await self._parent.call("spawn", class_path(cls), arguments, options)

    async def _spawn_here(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
    ) -> Any:
        if options["on"] != self.local.name:
            wanted = f"on={options['on']!r}" if options["on"] else "no on="
            raise ActorsError(
                f"local values do not leave {self.local.name}, got {wanted}: use on=current().node"
            )
        if self._family is None:
            self._family = await self._node.new_family(f"{self.local.name}/own")
        own = {key: options[key] for key in ("name", "restart", "backoff", "mailbox")}
        return await self._family.spawn(cls, args, kwargs, **own)

    async def lookup(self, name: str) -> Any:
        """Ask the parent who has a name."""
        return await self._parent.call("lookup", name)

    async def pool(self, name: str) -> Any:
        """Ask the parent for a pool."""
        return await self._parent.call("pool", name)

    async def tree(self) -> dict[str, Any]:
        """Ask the parent for the tree."""
        tree: dict[str, Any] = await self._parent.call("tree")
        return tree

    def nodes(self) -> list[Node]:
        """Refuse: handles on nodes live where the nodes were made."""
        raise ActorsError(
            "system.nodes is for the process that made the system; a node has current().node"
        )

    def events(self) -> EventStream:
        """Refuse: the event stream ends where the system was made."""
        raise ActorsError("system.events() is for the process that made the system")

    def supervisor(self, path: str) -> SupervisorHandle:
        """Refuse: supervisors are handled where the system was made."""
        raise ActorsError(f"supervisor {path!r} is for the process that made the system")

    async def start_nodes(self, spec: NodesSpec) -> list[Node]:
        """Refuse: handles on nodes live where the nodes were made."""
        raise ActorsError(f"starting nodes({spec.name!r}) is for the process that made the system")

    async def scale(self, group: str, count: int) -> list[Node]:
        """Refuse, as above."""
        raise ActorsError(f"scaling {group!r} to {count} is for the process that made the system")

    async def reload(
        self, names: tuple[str, ...], *, surge: bool, ready_timeout: float | None
    ) -> list[Node]:
        """Refuse, as above."""
        what = f"reload{names} with surge={surge}, ready_timeout={ready_timeout}"
        raise ActorsError(f"{what} is for the process that made the system")

    async def stop(self) -> None:
        """Ask for the end of the whole system."""
        await self._parent.call("stop")

    # -- what the parent asks ---------------------------------------------------------------------

    async def _call_serve(self, link: Link, spec: Listener) -> None:
        loop = self._node.runtime.loop
        telling = AckBatcher(loop, lambda *told: link.note("told", spec.name, *told))
        server = serve(
            spec,
            loop,
            acknowledge=telling.acknowledge,
            refused=telling.refused,
            closed=telling.closed,
            counted=lambda open_, total: link.note("counted", spec.name, open_, total),
            report=self._node.runtime.report,
            system=self._node.runtime.system,
            resolve=import_handler,
        )
        with self._node.heart.held():
            await server.start()
        self._servers[spec.name] = server
        self._tellings[spec.name] = telling

    async def _call_families(self, _link: Link) -> list[Any]:
        return families(self._node.runtime, self._family)

    async def _call_drain(self, _link: Link, listener: str, seconds: float) -> None:
        server = self._servers.get(listener)
        if server is not None:
            await server.drain(seconds)

    def _note_connections(self, link: Link, listener: str, numbers: list[int], *fds: int) -> None:
        server = self._servers.get(listener)
        socks = [socket.socket(fileno=fd) for fd in fds]
        if server is None:
            for sock in socks:
                sock.close()
            link.note("told", listener, [], numbers, [])
            return
        with self._tellings[listener].together() as telling:
            for number, sock in zip(numbers, socks, strict=True):
                if nearly_full(sock.fileno()):
                    sock.close()
                    telling.refused(number)
                else:
                    server.take(number, sock)

    def _note_seat(self, _link: Link, listener: str, limit: int | None, *fds: int) -> None:
        socks = [socket.socket(fileno=fd) for fd in fds]
        server = self._servers.get(listener)
        if isinstance(server, SocketServer):
            server.seat(limit, *socks)
        else:
            for sock in socks:
                sock.close()

    def _note_unseat(self, _link: Link, listener: str) -> None:
        server = self._servers.get(listener)
        if isinstance(server, SocketServer):
            server.unseat()

    def unseat(self) -> None:
        """Leave no listening socket of this node behind: clients would wait there in vain."""
        for server in self._servers.values():
            if isinstance(server, SocketServer):
                server.unseat()

    def _note_slots(
        self, _link: Link, listener: str, slot: int, live: list[int], every: list[int]
    ) -> None:
        server = self._servers.get(listener)
        if server is not None:
            server.placed(slot, live, every)

    def _note_leave(self, _link: Link, seconds: float) -> None:
        self._node.heart.stop()
        self._node.runtime.loop.start(self._leave, seconds, name="leave")

    async def _leave(self, seconds: float) -> None:
        """Finish what this node has, connections first: their handlers may need its actors."""
        until = current_time() + seconds
        try:
            share = seconds * (_CONNECTIONS if self._node.has_supervised else 1.0)
            async with create_task_group() as tasks:
                for server in self._servers.values():
                    tasks.start_soon(server.drain, share, _PATIENCE * share)
            left = max(0.0, until - current_time())
            with move_on_after(left + _ENDING * seconds):
                await self._node.finish_actors(left)
        finally:
            await self._end(0.0)

    def _note_shutdown(self, _link: Link, seconds: float) -> None:
        self._node.heart.stop()
        self._node.runtime.loop.start(self._end, seconds, name="shutdown")

    async def _end(self, seconds: float) -> None:
        """Drain, end what is this node's own, then let the loop end; asked twice, it is done once."""
        if self._ending:
            return
        self._ending = True
        try:
            for server in self._servers.values():
                await server.drain(seconds)
                await server.stop()
            if self._family is not None:
                await self._family.aclose()
        finally:
            self._done()

    def _done(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
