"""The operation by which a node says that its code stands at a `breakpoint()`."""

# mypy: disable-error-code="empty-body"
# Declarations: only their signatures are used.

from __future__ import annotations

from actors._remoting.operation import Side, fd_note as _fd_note

__all__ = ["breakpoint_reached"]


@_fd_note(Side.PARENT)
def breakpoint_reached(actor: str, place: str, /) -> None:
    """The descriptor leads to the debugger: a byte says that somebody has come, its end that nobody can."""
