"""A program that is connected to a system from outside, as that program sees it: a host without actors.

Rule: it starts nothing in the system and changes nothing; what it may ask its parent for is in `clients`.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, Final, NoReturn

from actors._base.errors import ActorsError, InvalidSpec
from actors._messaging.context_propagation import Propagation
from actors._remoting import client_operations as client_ops
from actors._system.extras import EXTRAS
from actors._system.far_links import serve_far_links
from actors.nodes import ActorHost, LinkedProcess, Siblings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Target
    from actors._remoting.link import Link

__all__ = ["ClientProcess", "refuse"]

_OWN_MAIN: Final = (
    "it is of the __main__ of a program that is connected from outside: "
    "put it in a module that both import"
)
_FORKED: Final = "this process is a fork of the one that is connected: connect again"
_CONNECTED: Final[weakref.WeakSet[ClientProcess]] = weakref.WeakSet()


def refuse(what: str) -> NoReturn:
    """Refuse what only the system's own code may do.

    Raises:
        ActorsError: always.
    """
    raise ActorsError(
        f"{what}: this program is connected from outside (actors.connect), and starts and changes nothing in "
        "the system: ask one of its actors to do it, or use the command `actors`"
    )


class ClientHost(ActorHost):
    """The host of a client.

    Attributes:
        closed: why nothing can be sent any more.
    """

    closed: Callable[[], ActorsError] | None = None

    def resolve(self, ref: Ref[Any]) -> Target:
        """Find where messages for *ref* go, as long as it is connected."""
        if self.closed is not None:
            raise self.closed()
        return super().resolve(ref)

    def wire_module(self, module: str, named: Any) -> str:
        """Return the name of a module, which is the same everywhere: nothing goes by value."""
        del named
        return module

    def find_named(self, module: str, qualname: str) -> Any:
        """Return what the system names; what is of its own `__main__` is not here."""
        if module.startswith("__main__"):
            raise ImportError(
                f"{qualname} is of the __main__ of the system's program, which no other program can import: "
                "put it in a module"
            )
        return super().find_named(module, qualname)


class ClientProcess(LinkedProcess):
    """The link to the process that made the system, and over it to the nodes.

    Args:
        admitted: what that process says a client needs to know.
        sock: the connection.
        loop: of this program.
        ended: called once, when the connection has ended.
    """

    host: ClientHost

    def __init__(
        self,
        admitted: dict[str, Any],
        sock: socket.socket,
        loop: Loop,
        ended: Callable[[], None],
    ) -> None:
        host = ClientHost(
            admitted["address"],
            admitted["number"],
            loop,
            propagation=_propagation(admitted["propagate"]),
            trace=admitted["trace"],
            largest=admitted["largest"],
            lend=admitted["lend_per_node"],
            ask_timeout=admitted["ask_timeout"],
            system_id=admitted["system_id"],
            extras=EXTRAS,
        )
        host.main_problem = lambda _: _OWN_MAIN
        super().__init__(host, admitted["parent"])
        self.parent.attachments.copy_only = True
        self.siblings: Siblings = Siblings(None, self, ())
        serve_far_links(self)
        self._has_ended = ended
        self._pid = os.getpid()
        self._sock = sock
        _CONNECTED.add(self)

    async def open(self) -> None:
        """Attach the connection; return when it is known what there is in the system."""
        self.parent.attach(self._sock)
        await self.parent.call(client_ops.introduced)

    def _link_ended(self, link: Link) -> None:
        super()._link_ended(link)
        if link is self.parent:
            self._has_ended()

    def close(self, why: Callable[[], ActorsError]) -> None:
        """Close all links; whoever sends or waits is told *why*."""
        host, text = self.host, str(why())
        host.closed = host.closed or why
        for peer in list(host.peers.values()):
            peer.down(text, restarting=False)
        host.groups.end(why())
        host.memory.close()

    def forked(self) -> None:
        """Let go of the connection in a process that was forked, so that it ends with the other one."""
        self.host.closed = lambda: ActorsError(_FORKED)
        for peer in self.host.peers.values():
            peer.abandon(_FORKED)

    def check_process(self) -> None:
        """Refuse to work in a fork of the process that is connected.

        Raises:
            ActorsError: this is one.
        """
        if os.getpid() != self._pid:
            raise ActorsError(_FORKED)

    # -- what a client does not do ---------------------------------------------------------

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Report an event, as long as there is anybody to report it to."""
        if self.parent.closed is None:
            super().event(kind, facts)

    async def claim(self, ref: Ref[Any]) -> None:
        """Refuse: it has no actors, and owns no names."""
        refuse(f"claim {ref.name!r}")

    async def new_fence(self) -> int:
        """Refuse: it starts no actors."""
        refuse("start an actor")

    async def stop_node(self, name: str, grace: float | None) -> None:
        """Refuse."""
        del grace
        refuse(f"stop node {name!r}")

    async def drain_node(self, name: str, grace: float | None) -> None:
        """Refuse."""
        del grace
        refuse(f"drain node {name!r}")

    def kill_node(self, name: str) -> None:
        """Refuse."""
        refuse(f"kill node {name!r}")


def _propagation(paths: list[str]) -> Propagation | None:
    """Return the context variables that the system propagates, or none if this program has not all of them."""
    try:
        return Propagation.of(paths)
    except InvalidSpec:
        return None


def _after_fork() -> None:
    for client in list(_CONNECTED):
        client.forked()


os.register_at_fork(after_in_child=_after_fork)
