"""Which class of node each kind is: the one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.nodes._interpreter import InterpreterNode
from actors.nodes._process import ProcessNode
from actors.nodes._thread import ThreadNode

if TYPE_CHECKING:
    from actors.nodes._spec import NodesSpec
    from actors.nodes.remote_node import RemoteNode, RemoteNodeHost

__all__ = ["new_node"]

_CLASSES: Final[dict[str, type[RemoteNode]]] = {
    "process": ProcessNode,
    "thread": ThreadNode,
    "interpreter": InterpreterNode,
}


def new_node(home: RemoteNodeHost, spec: NodesSpec, slot: int) -> RemoteNode:
    """Make the node of *slot*; its supervisor starts it."""
    return _CLASSES[spec.kind](home, spec, slot)
