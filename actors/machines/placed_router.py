"""A listener of nodes on other machines, seen from the parent: each place has a router of its own.

Rule: nothing of it is opened on the machine of the parent. A place that joins later opens it as well.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import sleep

from actors._base.errors import ActorsError, InvalidSpec
from actors._base.run_loop import new_task_group
from actors.routing import ListenFailed, NodeStats, RouterStats, passes_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors._base.loop import Loop
    from actors.machines.place import Place
    from actors.nodes import NodesSpec
    from actors.routing import Listener

__all__ = ["PlacedRouter", "RoutersHome"]

_AGAIN: Final = 1.0
"""Seconds after which a place tries again to open a listener."""
_SUMS: Final = (
    "accepted",
    "pending",
    "peeking",
    "dropped",
    "refused",
    "redispatched",
    "lost_unread",
    "learned",
    "unlearned",
    "passed_on",
    "passing",
)


class FarNode(Protocol):
    """A run of a node that serves the listener."""

    name: str
    slot: int

    run: Any
    """A `PlacedRun`."""


class RoutersHome(Protocol):
    """The places of the system, as their routers see them."""

    loop: Loop
    routers: list[PlacedRouter]

    def place_number(self, spec: NodesSpec, slot: int) -> int: ...
    def places_of(self, group: str) -> list[Place]: ...
    def event(self, kind: str, facts: dict[str, Any]) -> None: ...


class PlacedRouter:
    """The routers of one listener at all places of its group.

    Args:
        spec: the listener.
        home: the places of the system.
        pack: makes text of a value that an agent reads.

    Raises:
        InvalidSpec: it cannot be sent to other machines.
    """

    def __init__(self, spec: Listener, home: RoutersHome, pack: Callable[[Any], list[str]]) -> None:
        self.spec = spec
        self._home = home
        try:
            self._packed = pack(spec)
        except ActorsError as error:
            raise InvalidSpec(
                f"listen({spec.address!r}, nodes={spec.nodes!r}): its nodes are on other machines, to which "
                f"this listener cannot be sent: {error}"
            ) from error
        self._open = False
        self._asked: set[str] = set()
        """The keys of the places that have been told to open it."""
        self._nodes: dict[str, tuple[FarNode, bool]] = {}
        """By name, and whether it gets connections."""
        self._addresses: dict[str, str] = {}
        self._ways: dict[str, list[Any]] = {}
        self._shutdown = 0.0
        self._figures: dict[str, dict[str, Any]] = {}
        """By the key of a place: where it listens, how it takes what belongs to it, and what it has shown."""

    # -- open and close -------------------------------------------------------------------------

    async def open_all(self) -> None:
        """Open it at each place there is.

        Raises:
            ListenFailed: one of them cannot; it is closed everywhere.
        """
        self._open = True
        self._home.routers.append(self)
        failures: list[ListenFailed] = []
        async with new_task_group() as tasks:
            for place in self._home.places_of(self.spec.nodes):
                tasks.start_soon(self._open_first, place, failures)
        if failures:
            self.close()
            raise failures[0]

    async def _open_first(self, place: Place, failures: list[ListenFailed]) -> None:
        try:
            await self._open_at(place)
        except ListenFailed as error:
            failures.append(error)
        except ActorsError:
            return  # it is lost: the one that follows opens it

    async def _open_at(self, place: Place) -> None:
        self._asked.add(place.key)
        found = await place.call("listen", packed=self._packed)
        if "errno" in found:
            raise ListenFailed(f"{found['address']} at place {place.name}", found["errno"])
        self._addresses[place.key] = found["address"]
        if found["way"] is not None:
            self._ways[place.key] = found["way"]
            self._share()

    async def settled(self) -> None:
        """Return when each place has done what it was told before."""
        async with new_task_group() as tasks:
            for place in self._home.places_of(self.spec.nodes):
                tasks.start_soon(self._asked_of, place, "settled")

    async def _asked_of(self, place: Place, op: str, **fields: str) -> None:
        try:
            await place.call(op, **fields)
        except ActorsError:
            return  # it is lost, and its router with it

    def place_joined(self, place: Place) -> None:
        """Open it at a place that has just joined, before its nodes start."""
        if self._open and place.group == self.spec.nodes and place.key not in self._asked:
            name = f"{self.spec.name} at {place.name}"
            self._home.loop.start(self._open_later, place, name=name, fresh=True)

    async def _open_later(self, place: Place) -> None:
        told = False
        while self._open and place.usable:
            try:
                await self._open_at(place)
            except ActorsError as error:
                if not told and place.usable:
                    facts = {"listener": self.spec.name, "place": place.name, "error": str(error)}
                    self._home.event("listener_failed", facts)
                told = True
                await sleep(_AGAIN)
            else:
                self._add_again(place)
                return

    def _add_again(self, place: Place) -> None:
        """Give it the nodes that have got ready before it was open."""
        for node, ready in list(self._nodes.values()):
            if ready and node.run.place is place:
                self._tell(node, takes=True)

    def place_over(self, place: Place) -> None:
        """Forget a place."""
        self._asked.discard(place.key)
        self._addresses.pop(place.key, None)
        if self._ways.pop(place.key, None) is not None:
            self._share()
        self._figures.pop(place.key, None)

    async def stop_all(self) -> None:
        """Have no place take clients any more; return when those that waited are given to nodes."""
        self._open = False
        async with new_task_group() as tasks:
            for place in self._home.places_of(self.spec.nodes):
                stop = partial(self._asked_of, listener=self.spec.name)
                tasks.start_soon(stop, place, "stop_listening")

    def close(self) -> None:
        """Close it at all places; nodes keep what they serve."""
        self._open = False
        if self in self._home.routers:
            self._home.routers.remove(self)
        for place in self._home.places_of(self.spec.nodes):
            place.tell("close_listener", listener=self.spec.name)
        self._nodes.clear()

    # -- nodes ------------------------------------------------------------------------------------

    def add_node(self, node: FarNode) -> None:
        """Have the router of its machine give connections to *node*, which is ready."""
        for name, (other, _) in list(self._nodes.items()):
            if other.slot == node.slot:
                self._nodes[name] = (other, False)
        self._nodes[node.name] = (node, True)
        self._tell(node, takes=True)

    def resume_node(self, node: FarNode) -> None:
        """The same, of one that was removed without being dead."""
        if node.name in self._nodes:
            self._nodes[node.name] = (node, True)
            self._tell(node, takes=True)

    def remove_node(self, node: FarNode, *, dead: bool) -> None:
        """Have it get no more connections; that one is dead its agent has seen."""
        if node.name not in self._nodes:
            return
        if dead:
            del self._nodes[node.name]
            self._share()
        else:
            self._nodes[node.name] = (node, False)
            self._tell(node, takes=False)

    def _tell(self, node: FarNode, *, takes: bool) -> None:
        place: Place | None = node.run.place
        if place is not None:
            self._share()
            place.tell("router_node", listener=self.spec.name, n=node.run.number, takes=takes)

    # -- stickiness -------------------------------------------------------------------------------

    def sharing(self, node: FarNode, every: set[int]) -> set[int]:
        """Return the slots that share the keys with *node*: all, or those of its machine."""
        if passes_on(self.spec):
            return every
        spec: NodesSpec = node.run.node.spec
        at = self._home.place_number(spec, node.slot)
        return {slot for slot in every if self._home.place_number(spec, slot) == at}

    def _share(self) -> None:
        """Tell each place which one has which keys, and how to reach it."""
        if not self._ways:
            return
        ready = [node for node, takes in self._nodes.values() if takes]
        slots = [(node.slot, node.run.place.key) for node in ready if node.run.place is not None]
        known = [node.run.node.spec.shutdown for node, _ in self._nodes.values()]
        shutdown = self._shutdown = max(known, default=self._shutdown)
        for place in self._home.places_of(self.spec.nodes):
            if place.key in self._ways:
                facts = {"here": place.key, "slots": slots, "ways": self._ways}
                place.tell("share", listener=self.spec.name, shutdown=shutdown, **facts)

    def keep_slots(self, slots: set[int]) -> None:
        """Forget the keys of all other slots."""
        for place in self._home.places_of(self.spec.nodes):
            place.tell("keep_slots", listener=self.spec.name, slots=sorted(slots))

    # -- figures ----------------------------------------------------------------------------------

    def shown(self, place: Place, figures: dict[str, Any]) -> None:
        """Take what the router of a place has counted."""
        if place.key in self._addresses:
            self._figures[place.key] = figures

    @property
    def at_places(self) -> list[dict[str, Any]]:
        """Where it is open, for `actors ps`."""
        return [
            {
                "place": key.partition("#")[0],
                "address": address,
                "accepting": self._figures.get(key, {}).get("accepting", False),
                "passing": self._figures.get(key, {}).get("passing", 0),
            }
            for key, address in sorted(self._addresses.items())
        ]

    def snapshot(self) -> RouterStats:
        """Describe all of them together; what places count is up to half a second old."""
        counted = {one["name"]: one for place in self._figures.values() for one in place["nodes"]}
        nodes = tuple(
            replace(
                NodeStats(name=name, slot=node.slot, open=0, total=0, ready=ready),
                **_only(counted.get(name, {}), ("open", "total", "unacknowledged", "queued")),
            )
            for name, (node, ready) in self._nodes.items()
        )
        sums = {name: sum(one[name] for one in self._figures.values()) for name in _SUMS}
        return RouterStats(
            listener=self.spec.name,
            address=", ".join(
                dict.fromkeys(address for _, address in sorted(self._addresses.items()))
            )
            or self.spec.address,
            accepting=any(one["accepting"] for one in self._figures.values()),
            nodes=nodes,
            **sums,
        )


def _only(facts: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: facts[name] for name in names if name in facts}
