"""What can be supervised: anything with four verbs, and what it may stand on.

Only Protocols live here. Nothing in this package asks a child for more than this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.supervisors._exit import Exit


class Ignored(Exception):
    """Raised by `Child.start` to say: nothing to run here, and that is fine."""


class Child(Protocol):
    """One run of one child. A restart makes a new object; nothing is reused."""

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start, and return when ready.

        A start that raises or is cancelled leaves nothing behind and never calls *ended*. After a
        start that returned, *ended* is called exactly once, from the loop, when the run ends,
        however it ends; a run that dies at once may call it before its start has returned.

        Args:
            ended: Told how the run ended.

        Raises:
            Ignored: There is nothing to run, and no error either.
            Exception: It could not start.
        """

    async def wait(self) -> Exit:
        """Wait for the end of this run and return it; at once when it has ended."""
        ...

    def stop(self) -> None:
        """Ask the run to end. Asking twice changes nothing."""

    def kill(self) -> None:
        """Insist that the run ends. Insisting twice, or after the end, changes nothing.

        Called while `start` still waits, it makes that raise.
        """


class Host(Protocol):
    """What a child stands on, such as a node: it goes away and comes back on its own account."""

    @property
    def ready(self) -> bool:
        """Whether a child can be started on it now; False before its children are told to end."""
        ...

    @property
    def lost(self) -> bool:
        """Whether it has been given up and will never be ready again."""
        ...

    def notify(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have *callback* called, from the loop, at every change; return what ends that."""
        ...
