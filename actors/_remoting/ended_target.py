"""What refs to an actor that is known to have ended send to: every message is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._base.errors import ActorStopped
from actors._messaging.mailbox import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.message_table import Handler
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Target
    from actors.supervisors import Exit

__all__ = ["EndedTarget"]


class EndedTarget:
    """The target of refs to actors that are known to have ended: it refuses every message."""

    remote = waits_for_node = False
    wait_queue: Any = None  # no sender ever waits for room: all are refused

    def __init__(self, ref: Ref[Any], end: Exit | None) -> None:
        self.waiting_for: dict[Envelope, Target] = {}
        self.ref = ref
        self._end = end

    def _refuse(self, envelope: Envelope) -> ActorStopped:
        return ActorStopped.by(self._end, self.ref, envelope.message)

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        raise self._refuse(Envelope(handler, args, kwargs))

    def try_send(self, envelope: Envelope) -> bool:
        raise self._refuse(envelope)

    async def send_when_room(self, envelope: Envelope) -> None:
        raise self._refuse(envelope)

    def wait_in_line(
        self, envelope: Envelope, _refused: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        raise self._refuse(envelope)

    def no_room(self, envelope: Envelope) -> ActorStopped:
        return self._refuse(envelope)

    def send_past_bound(self, envelope: Envelope) -> None:
        raise self._refuse(envelope)

    def withdraw(self, envelope: Envelope) -> None:
        """Take nothing back: every message was refused."""

    def interrupt(self, envelope: Envelope) -> None:
        """Cancel nothing: every message was refused."""

    def runs_concurrently(self, _envelope: Envelope) -> bool:
        """Nothing runs."""
        return False
