"""The operations of the dashboard: what its node asks the parent, and the parent the nodes."""

# mypy: disable-error-code="empty-body"
# Declarations: only their signatures are used.

from __future__ import annotations

from typing import Any, Final

from actors._remoting.operation import Side, call as _call

__all__: list[str] = []

_PARENT: Final = Side.PARENT
_NODE: Final = Side.NODE


@_call(_PARENT)
async def control(operation: str, arguments: dict[str, Any], by: str, /) -> Any:
    """Do what the dashboard asks for, *by* whom; its node alone is answered."""


@_call(_NODE)
async def figures() -> dict[str, Any]:
    """Return the node's figures, with those of its actors by class."""


@_call(_NODE)
async def readings(mailbox: float, /) -> dict[str, Any]:
    """Return the node's memory, how late its loop is, and the actors with more than *mailbox* messages."""


@_call(_NODE)
async def queued(name: str, most: int, /) -> dict[str, Any] | None:
    """Return what an actor has queued, without values; None if the node has none of that name."""
