"""The listeners of a place: the agent has the router of each, over the nodes of its own machine.

Rule 1: which nodes take connections the parent says; that one has ended is seen here first.
Rule 2: what the parent is shown goes at most twice a second, and only what has changed.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.events import event_of
from actors._remoting.constructor_args import unpack_value
from actors._remoting.router_requests import RouterRequests
from actors.machines.passing import Passing, Sharing
from actors.routing import Inet, ListenFailed, Router, Udp, new_router, passes_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer
    from actors._remoting.link import Link
    from actors._remoting.router_node import LinkedRouterNode
    from actors.machines.control_line import ControlLine
    from actors.machines.material import Material
    from actors.nodes import ActorHost
    from actors.routing import AnyRouter, Listener

__all__ = ["AgentListeners", "at_this_place"]

_HOST: Final = "HOST"
"""The variable in which a place says at which address it is reached."""
_EVERY: Final = 0.5
"""Seconds between two looks at what has changed."""


class ListenersKeeper(Protocol):
    """The agent, as its listeners see it."""

    loop: Loop
    line: ControlLine
    host: ActorHost

    @property
    def own(self) -> tuple[Material | None, str, float]: ...
    def router_node(self, number: int) -> LinkedRouterNode | None: ...
    def slot_of(self, link: Link) -> int | None: ...


class AgentListeners:
    """Opens, feeds and closes them as the parent says.

    Args:
        keeper: the agent.

    Attributes:
        operations: what the parent may ask for, by name.
    """

    def __init__(self, keeper: ListenersKeeper) -> None:
        self._keeper = keeper
        self._routers: dict[str, AnyRouter] = {}
        self._members: dict[str, dict[str, LinkedRouterNode]] = {}
        """By listener and name: who has been added."""
        self._paused: set[tuple[str, LinkedRouterNode]] = set()
        """Of those, who gets no connections now."""
        self._told: dict[str, dict[str, Any]] = {}
        self._timer: Timer | None = None
        RouterRequests(self._routers.get, keeper.slot_of).register(keeper.host.handlers)
        self._passing = Passing(keeper.loop, lambda: keeper.own, self._routers.get)
        self.operations: dict[str, Callable[..., Any]] = {
            "listen": self._listen,
            "settled": lambda: None,
            "router_node": self._change_node,
            "keep_slots": self._keep_slots,
            "share": self._share,
            "stop_listening": self._stop_listening,
            "close_listener": self._close_listener,
        }

    # -- what the parent says -------------------------------------------------------------------

    def _listen(self, packed: list[str]) -> dict[str, Any]:
        """Open a listener; return where, or the number of the error that kept it from that."""
        [spec] = unpack_value(self._keeper.host, [bytes.fromhex(part) for part in packed])
        spec = at_this_place(spec)
        self._close_listener(spec.name)
        router = new_router(spec, self._keeper.loop, self._report)
        try:
            router.open()
        except ListenFailed as error:
            return {"address": spec.address, "errno": error.errno}
        self._routers[spec.name] = router
        self._members[spec.name] = {}
        way = self._passing.open(router) if passes_on(spec) and isinstance(router, Router) else None
        if self._timer is None:
            self._timer = self._keeper.loop.call_later(_EVERY, self._tell)
        return {"address": router.address, "way": way}

    def _stop_listening(self, listener: str) -> None:
        """Take no more clients, and none for nodes that drain; return when those that waited are given away."""
        router = self._routers.get(listener)
        if router is None:
            return
        router.stop_listening()
        for node in self._members[listener].values():
            router.remove_node(node, dead=False)

    def _close_listener(self, listener: str) -> None:
        """Close a listener, and every connection that no node has acknowledged."""
        router = self._routers.pop(listener, None)
        self._members.pop(listener, None)
        self._told.pop(listener, None)
        if router is not None:
            router.close()

    def _change_node(self, listener: str, n: int, *, takes: bool) -> None:
        """Give a node connections, or no more of them."""
        router, node = self._routers.get(listener), self._keeper.router_node(n)
        if router is None or node is None:
            return
        members, paused = self._members[listener], (listener, node)
        if takes and members.get(node.name) is not node:
            members[node.name] = node
            self._send_bindings(router, node)
            router.add_node(node)
        elif takes and paused in self._paused:
            self._paused.discard(paused)
            router.resume_node(node)
        elif not takes and members.get(node.name) is node:
            self._paused.add(paused)
            router.remove_node(node, dead=False)

    def _share(
        self,
        listener: str,
        slots: list[tuple[int, str]],
        ways: dict[str, tuple[str, int, str]],
        here: str,
        shutdown: float,
    ) -> None:
        """Know which place has which keys from now on."""
        places = {int(slot): str(place) for slot, place in slots}
        reached = {str(place): (str(h), int(p), str(t)) for place, (h, p, t) in ways.items()}
        sharing = Sharing(here=str(here), shutdown=float(shutdown), slots=places, ways=reached)
        self._passing.share(listener, sharing)

    def _keep_slots(self, listener: str, slots: list[int]) -> None:
        """Forget the keys of all other slots."""
        router = self._routers.get(listener)
        if isinstance(router, Router):
            router.keep_slots(slots)

    def _send_bindings(self, router: AnyRouter, node: LinkedRouterNode) -> None:
        """Have *node* see the keys that applications of this machine have made."""
        fd = getattr(router, "bindings_fd", None)
        if fd is not None:
            node.send_bindings(router.spec.name, fd)

    # -- what is seen here ----------------------------------------------------------------------

    def node_ended(self, node: LinkedRouterNode) -> None:
        """Forget a node whose link has been read to its end."""
        for listener, members in self._members.items():
            if members.get(node.name) is node:
                del members[node.name]
                self._paused.discard((listener, node))
                self._routers[listener].remove_node(node, dead=True)

    def leave(self) -> None:
        """Take no more clients anywhere: the agent was told to end."""
        self._passing.leave()
        for listener in list(self._routers):
            self._stop_listening(listener)

    async def drain(self) -> None:
        """Return when what goes to nodes of other machines has ended, or has had its time."""
        await self._passing.drain()

    def close(self) -> None:
        """Close all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for listener in list(self._routers):
            self._close_listener(listener)
        self._passing.close()

    # -- what the parent is told ------------------------------------------------------------------

    def _report(self, record: Any) -> None:
        line = self._keeper.line
        if not line.behind:
            event = event_of(record, self._keeper.loop.now())
            line.send("event", kind=event.kind, facts=dict(event.facts))

    def _tell(self) -> None:
        """Show the parent what has changed."""
        self._timer = self._keeper.loop.call_later(_EVERY, self._tell)
        for listener, router in self._routers.items():
            now = asdict(router.snapshot())
            if self._told.get(listener) != now and not self._keeper.line.behind:
                self._told[listener] = now
                self._keeper.line.send("router", listener=listener, figures=now)


def at_this_place(spec: Listener) -> Listener:
    """Return a listener with the address of this place, if it says one.

    Raises:
        BadListener: what it says is no address.
    """
    host, where = os.environ.get(_HOST, ""), spec.where
    inet = where.inet if isinstance(where, Udp) else where
    if not host or not isinstance(inet, Inet):
        return spec
    here = Inet(host, inet.port)
    return replace(spec, address=str(Udp(here) if isinstance(where, Udp) else here))
