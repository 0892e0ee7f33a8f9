"""The operations that are there for clients: programs that are connected to the system from outside.

They use some of those of nodes as well, which `actors._system.clients` lists.
"""

# mypy: disable-error-code="empty-body"
# Declarations: only their signatures are used.

from __future__ import annotations

from actors._remoting.operation import Side, call as _call, note as _note

__all__ = ["client_gone", "introduced"]


@_call(Side.PARENT)
async def introduced() -> None:
    """Answer: what the parent tells a client at first, the nodes and topics there are, has been read."""


@_note(Side.NODE)
def client_gone(address: str, why: str, /) -> None:
    """A client has ended: forget it."""
