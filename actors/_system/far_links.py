"""The door to `actors.machines` for processes of the parent's machine that are to be linked to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._remoting import operations as ops

if TYPE_CHECKING:
    from actors.nodes import Link, LinkedProcess

__all__ = ["serve_far_links"]


def serve_far_links(process: LinkedProcess) -> None:
    """Connect to nodes of other machines when the parent says so; until then nothing of it is imported."""
    handlers = process.host.handlers

    def first(link: Link, *dial: Any) -> None:
        # Imported where it is used: a system on one machine pays for nothing of it.
        from actors.machines.peer_links import PeerLinks  # noqa: PLC0415

        PeerLinks(process, None)  # it serves the next ones
        handlers.notes[ops.dial_link.name](link, *dial)

    handlers.on_note(ops.dial_link, first)
