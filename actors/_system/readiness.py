"""The check of `nodes(ready=)`, on a node: asked once a second whether the node may be given connections.

Rule 1: it is asked for the first time when the servers have started; until it says yes, they are not ready.
Rule 2: the parent hears of a change, not of each answer. What the check raises is a no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anyio import fail_after, sleep

from actors._remoting import listener_operations as ops
from actors._system.called import called
from actors.routing import import_handler

if TYPE_CHECKING:
    from actors.nodes import Link, NodeProcess

__all__ = ["Readiness"]

_EVERY: Final = 1.0
"""Seconds between two questions."""
_SOON: Final = 0.05
"""The same while the node waits for the first yes."""
_PATIENCE: Final = 5.0
"""Seconds after which no answer is a no."""


class Readiness:
    """Asks the check of this node's group, if it has one."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._path: str = node.config["ready"] or ""
        self._check: Any = None
        self._why = ""
        self._watching: Any = None
        node.host.handlers.on_call(ops.become_ready, self._become_ready)

    async def _become_ready(self, _link: Link) -> None:
        """Return when the check says yes.

        Raises:
            HandlerNotFound: there is no such check.
        """
        if self._check is None:
            with self._node.heartbeat.paused():
                self._check = import_handler(self._path)
        while not await self._says_yes():  # noqa: ASYNC110 - a check has no event
            await sleep(_SOON)
        if self._watching is None:
            self._watching = self._node.host.loop.start(self._watch, name="readiness")

    async def _watch(self) -> None:
        said = True
        while True:
            await sleep(_EVERY)
            answer = await self._says_yes()
            if answer is not said:
                said = answer
                self._node.parent.note(ops.readiness, answer, self._why)

    async def _says_yes(self) -> bool:
        self._why = ""
        try:
            with fail_after(_PATIENCE):
                answer = await called(self._check)
        except Exception as error:  # noqa: BLE001 - it is the answer
            self._why = f"{type(error).__name__}: {error}"
            return False
        return bool(answer)

    def stop(self) -> None:
        """Ask no more."""
        if self._watching is not None:
            self._watching.cancel()
