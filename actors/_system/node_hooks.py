"""The hooks of a group of nodes, on a node: `nodes(on_ready=, on_stop=)`."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from anyio import CancelScope

from actors._base.waited_start import WaitedStart
from actors._system.called import called
from actors.routing import import_handler

if TYPE_CHECKING:
    from actors.nodes import NodeProcess

__all__ = ["NodeHooks"]


class NodeHooks:
    """Calls the hooks of this node's group, where it has some."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._on_ready: str | None = node.config["on_ready"]
        self._on_stop: str | None = node.config["on_stop"]

    async def ready(self) -> None:
        """Call `on_ready`; the node is not ready before it has returned.

        Raises:
            HandlerNotFound: there is no such function.
            Exception: whatever it raises.
        """
        if self._on_stop is not None:
            import_handler(self._on_stop)  # found missing now, and not at the end
        if self._on_ready is not None:
            start = WaitedStart(f"on_ready={self._on_ready!r}")
            try:
                await called(import_handler(self._on_ready))
            finally:
                start.over()

    async def stopping(self) -> None:
        """Call `on_stop`; what it raises is logged."""
        if self._on_stop is None:
            return
        try:
            with CancelScope(shield=True):
                await called(import_handler(self._on_stop))
        except Exception:  # noqa: BLE001 - the node ends all the same
            facts = {"hook": self._on_stop, "traceback": traceback.format_exc()}
            self._node.log.warning("on_stop failed", **facts)
