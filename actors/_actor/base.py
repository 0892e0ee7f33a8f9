"""The Actor base class: state that one task owns, and hooks for start, stop and the ends of others."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from actors._actor.on_error import OnError, set_table
from actors._base.errors import InvalidSpec
from actors._base.options import check_ask_timeout
from actors._messaging.message_table import (
    ASK_TIMEOUT_MARK,
    BLOCKING_MARK,
    ROOT_MARK,
    check_class,
    is_blocking,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from actors._actor.context import Context
    from actors._messaging.ref import Ref
    from actors.supervisors import Exit

__all__ = ["Actor"]

_AS_THE_SYSTEM: Final[Any] = object()


class Actor:
    """An actor: state that one task owns. Its public async methods are its messages.

    Subclass it, keep state in ``self``, and write each message as ``async def``. An async
    generator is a stream. Everything else (underscored names, plain methods, the hooks below)
    cannot be called through a ref.

    Hooks, all optional:

    - `on_start` runs before the first message; the actor is ready when it returns.
    - `on_stop` runs when this incarnation ends, unless it was killed, with its `Exit`.
    - `on_exit` runs once at the final end of each watched ref.
    - `on_renew` returns a state for the next incarnation, when this one ends in order to be started again.
    - `on_inspect` returns what `actors state` shows; unless overridden, the names and types of attributes.

    The class keyword ``blocking=True`` is for code that blocks, like DB-API, requests or torch: the actor has a
    thread of its own, named after it, in which its constructor, hooks and messages run, one at a time. They
    are all plain ``def``, and a generator is a stream. `Context.blocking` and `Context.run` reach others::

        class Ledger(Actor, blocking=True):
            def __init__(self, path: str) -> None:
                self.db = sqlite3.connect(path)

            def add(self, amount: int) -> None:
                self.db.execute("INSERT INTO entries VALUES (?)", (amount,))

    ``self.context`` can be used from the first line of ``__init__`` on.

    What a message handler raises goes to the asker; if nobody asked, it crashes the actor. The
    class keyword ``on_error`` decides otherwise, by the nearest class of the exception; subclasses
    inherit the table and may add to it. An entry RESTART or STOP also applies to asked messages, after
    the asker got the error::

        class Ledger(Actor, on_error={ValueError: OnError.RESUME, Corrupt: OnError.STOP}): ...

    The class keyword ``ask_timeout=5.0`` ends every ask of these actors after 5 seconds with
    `DeadlineExceeded`, unless the caller set a deadline of its own by `Ref.within`. It comes before the
    ``ask_timeout`` of the system; None means that an ask may take any time.
    """

    context: Context

    def __init_subclass__(
        cls,
        *,
        on_error: Mapping[type[Exception], OnError] | None = None,
        blocking: bool | None = None,
        ask_timeout: float | None = _AS_THE_SYSTEM,
        **kwargs: Any,
    ) -> None:
        """Take the class keywords.

        Raises:
            InvalidSpec: `on_error` has a key or value that is not allowed, `ask_timeout` is no number of
                seconds, or the methods of the class contradict `blocking` or each other.
        """
        super().__init_subclass__(**kwargs)
        if on_error is not None:
            set_table(cls, on_error)
        if blocking is not None:
            if is_blocking(cls) and not blocking:
                raise InvalidSpec(f"{cls.__name__}: its base class is blocking, so it is, too")
            setattr(cls, BLOCKING_MARK, bool(blocking))
        if ask_timeout is not _AS_THE_SYSTEM:
            setattr(cls, ASK_TIMEOUT_MARK, check_ask_timeout(cls.__name__, ask_timeout))
        check_class(cls)

    # The type is Any, so that a blocking class may have a plain `def` and any other an `async def`.
    def on_start(self) -> Any:
        """Prepare; the actor is ready when this returns. An exception here is a failed start."""
        return _NOTHING

    def on_stop(self, exit: Exit, /) -> Any:  # noqa: A002, ARG002 - the field's word, and the hook's public name
        """Close what the actor opened; *exit* says how this incarnation ended."""
        return _NOTHING

    def on_exit(self, ref: Ref[Any], exit: Exit, /) -> Any:  # noqa: A002, ARG002 - as above
        """React to the final end of *ref*, which this actor watches."""
        return _NOTHING

    def on_renew(self) -> Any:
        """Return what the next incarnation is to go on with; its `on_start` gets it as the argument *state*.

        Called before `on_stop` when a reload or `max_rss` replaces the actor's node, and by `stop_child`, after
        which `restart_child` starts the actor again; never after a crash or a kill. A snapshot is taken, as
        of a message. If it raises, takes more than half of the actor's `shutdown` seconds, or returns what
        cannot be sent, there is an event ``state_lost`` and the next incarnation starts without it::

            async def on_start(self, state: dict[str, int] | None = None) -> None:
                self.counts = state or {}


            async def on_renew(self) -> dict[str, int]:
                return self.counts
        """
        return _NOTHING

    def on_inspect(self) -> Any:
        """Return what `actors state` shows of this actor, as a message between others.

        This one returns the names of the actor's attributes with the types and lengths of their values, and no
        value, as that may be a secret.
        """
        return {name: _outline(value) for name, value in vars(self).items() if name != "context"}


def _outline(value: object) -> str:
    kind = type(value).__name__
    try:
        return f"{kind} of {len(value)}" if isinstance(value, Sized) else kind
    except Exception:  # noqa: BLE001 - a user's `__len__`
        return kind


class _Nothing:
    """What the hooks of `Actor` itself return: it can be awaited, and need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_NOTHING: Final = _Nothing()


setattr(Actor, ROOT_MARK, True)
