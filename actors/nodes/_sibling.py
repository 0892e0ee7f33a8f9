"""The other nodes of the system, as a node knows them: from what the parent tells, and by asking it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from actors.nodes._node import Node, NodeOwner, NodeState

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SiblingNode", "Siblings", "sibling_facts"]

_FACTS: Final = ("name", "kind", "state", "pid", "restarts")


class SiblingOwner(NodeOwner, Protocol):
    """What tells about other nodes, beside ending them."""

    async def node_stats(self, name: str) -> dict[str, Any]: ...


def sibling_facts(node: Node) -> list[Any]:
    """Return what other nodes are told about *node*."""
    return [node.state.value if name == "state" else getattr(node, name) for name in _FACTS]


class SiblingNode(Node):
    """Another node of the system; its facts are those that the parent told last."""

    def __init__(self, name: str, owner: SiblingOwner | None, asks: SiblingOwner) -> None:
        group, _, slot = name.rpartition("/")
        super().__init__(name, group or name, int(slot) if group else 0, owner)
        self._asks = asks

    def update(self, facts: Iterable[Any]) -> None:
        """Take over what the parent tells."""
        _, self.kind, state, self.pid, self.restarts = facts
        self.state = NodeState(state)

    async def stats(self) -> dict[str, Any]:
        """Return its actors, links, memory and CPU time."""
        return await self._asks.node_stats(self.name)


class Siblings:
    """The nodes of the system by their names, in the order in which the parent has told of them.

    Args:
        own: the handle of the node that this is on; None in a client, which is on none.
        owner: what asks the parent.
    """

    def __init__(self, own: Node | None, owner: SiblingOwner, known: Iterable[list[Any]]) -> None:
        self._owner = owner
        self._nodes: dict[str, Node] = {}
        self._own = own
        for facts in known:
            self.seen(facts)

    def seen(self, facts: list[Any]) -> None:
        """Note what is known of a node now."""
        name, kind = facts[0], facts[1]
        node = self._nodes.get(name)
        if self._own is not None and name == self._own.name:
            self._nodes[name] = self._own
            return
        if node is None:
            # The local node of the parent's program lives as long as the system, and is not ended alone.
            node = SiblingNode(name, None if kind == "local" else self._owner, self._owner)
            self._nodes[name] = node
        assert isinstance(node, SiblingNode)
        node.update(facts)

    def forgotten(self, name: str) -> None:
        """Note that a node has ended for good."""
        node = self._nodes.pop(name, None)
        if isinstance(node, SiblingNode):
            node.state = NodeState.EXITED
            node.pid = None

    def named(self, names: Iterable[str]) -> list[Node]:
        """Return the nodes of these names, those that are there."""
        return [self._nodes[name] for name in names if name in self._nodes]

    def only_here(self, on: str) -> bool:
        """Whether *on* is this node, or a group that has no other."""
        own = self._own
        if own is None or on not in {own.name, own.group}:
            return False
        return on == own.name or all(node is own or node.group != on for node in self._others())

    @property
    def parent_runs_actors(self) -> bool:
        """Whether the process that made the system has a node of its own."""
        return any(node.kind == "local" for node in self._others())

    def _others(self) -> list[Node]:
        return [node for node in self._nodes.values() if node is not self._own]

    def all(self) -> list[Node]:
        """Return all nodes."""
        return list(self._nodes.values())
