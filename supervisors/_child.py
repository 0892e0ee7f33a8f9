"""What can be supervised: anything with the four verbs of `Child`; and the host it may run on.

Nothing in this package needs more of a child than this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.supervisors._exit import Exit


class Ignored(Exception):
    """Raised by `Child.start` when there is nothing to run; that is not an error."""


class Child(Protocol):
    """One run of one child. A restart makes a new object; nothing is reused."""

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start, and return when ready.

        A start that raises or is cancelled leaves nothing behind and never calls *ended*. After a
        start that returned, *ended* is called exactly once, from the loop, when the run ends,
        however it ends; a run that dies at once may call it before its start has returned.

        Args:
            ended: Call it with how the run ended.

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
    """What a child runs on, such as a node: it goes down and up independently of the child."""

    @property
    def ready(self) -> bool:
        """Whether a child can be started on it now; when it goes down, False before its children end."""
        ...

    @property
    def lost(self) -> bool:
        """Whether it has been given up and will never be ready again."""
        ...

    def notify(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have *callback* called, from the loop, at every change; return a function that ends that."""
        ...
