"""The Actor base class: state that one task owns, and hooks for start, stop and the ends of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._actor.on_error import OnError, set_table
from actors._messaging.message_table import ROOT_MARK, check_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._actor.context import Context
    from actors._messaging.ref import Ref
    from actors.supervisors import Exit

__all__ = ["Actor"]


class Actor:
    """An actor: state that one task owns. Its public async methods are its messages.

    Subclass it, keep state in ``self``, and write each message as ``async def``. An async
    generator is a stream. Everything else (underscored names, plain methods, the hooks below)
    cannot be called through a ref.

    Hooks, all optional:
        on_start: runs before the first message; the actor is ready when it returns.
        on_stop: runs when this incarnation ends, unless it was killed, with its `Exit`.
        on_exit: runs once at the final end of each watched ref.

    ``self.context`` can be used from the first line of ``__init__`` on.

    What a message handler raises goes to the asker; if nobody asked, it crashes the actor. The
    class keyword ``on_error`` decides otherwise, by the nearest class of the exception; subclasses
    inherit the table and may add to it. An entry RESTART or STOP also applies to asked messages, after
    the asker got the error::

        class Ledger(Actor, on_error={ValueError: OnError.RESUME, Corrupt: OnError.STOP}): ...
    """

    context: Context

    def __init_subclass__(
        cls, *, on_error: Mapping[type[Exception], OnError] | None = None, **kwargs: Any
    ) -> None:
        """Take the class keyword.

        Raises:
            InvalidSpec: `on_error` has a key or value that is not allowed, or the decorators of two methods
                contradict each other.
        """
        super().__init_subclass__(**kwargs)
        if on_error is not None:
            set_table(cls, on_error)
        check_class(cls)

    async def on_start(self) -> None:
        """Prepare; the actor is ready when this returns. An exception here is a failed start."""

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the field's word, and the hook's public name
        """Close what the actor opened; *exit* says how this incarnation ended."""

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - as above
        """React to the final end of *ref*, which this actor watches."""


setattr(Actor, ROOT_MARK, True)
