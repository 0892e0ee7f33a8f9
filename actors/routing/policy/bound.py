"""The policy `Sticky` with what was learned: an id that an application has made goes where it was made.

Rule 1: a binding names a slot, not a run of its node: while no node of the slot takes connections the
hash decides, and afterwards the binding again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.routing.policy.policy import Policy, Snapshot, Sticky
from actors.routing.sticky.bindings import BindingTable, SharedBindings, digest_of
from actors.routing.sticky.http_keys import Cookie, Header
from actors.routing.sticky.keys import sources_of

__all__ = ["BoundPolicy", "learns", "new_table"]


@dataclass(frozen=True)
class BoundPolicy:
    """Chooses the node that *table* has for a key, and lets *policy* choose if it has none."""

    policy: Sticky
    table: BindingTable

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        """Choose the node of *key*; see `Policy.choose`."""
        slot = None if key is None else self.table.slot_of(digest_of(key))
        if slot is not None:
            for node in nodes:
                if node.slot == slot and node.eligible:
                    return node
        return self.policy.choose(nodes, key)


def learns(policy: Policy) -> bool:
    """Whether responses may say which node a key belongs to."""
    return (
        type(policy) is Sticky
        and policy.learn > 0
        and any(isinstance(source, Cookie | Header) for source in sources_of(policy.key))
    )


def new_table(policy: Policy) -> BindingTable | None:
    """Return the table of what is learned under *policy*; None if it learns nothing."""
    if type(policy) is not Sticky or not learns(policy):
        return None
    return BindingTable(policy.learn, SharedBindings(most=policy.learn))
