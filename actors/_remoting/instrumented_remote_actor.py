"""Remote actors and replies of a system that propagates context variables or traces messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._actor.instrumented_cell import add_headers
from actors._messaging.mailbox import Envelope
from actors._messaging.message_trace import answer_facts, facts_of, strongest
from actors._remoting.peer import RemoteActor
from actors._remoting.receiver import RemoteReply, RemoteSink
from actors.transport import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.message_table import Handler
    from actors._remoting.link import Link

__all__ = ["answer_classes", "remote_actor_class"]


def _measured(link: Link, send: Callable[[], int]) -> tuple[Mode, int]:
    """Send one message; return its mode, and its bytes, those in shared memory included."""
    attachments = link.attachments
    modes, lent = attachments.modes.copy(), attachments.bytes_lent
    size = send()
    used = [mode for mode, count in attachments.modes.items() if count != modes[mode]]
    return strongest([*used, Mode.COPY]), size + attachments.bytes_lent - lent


class PropagatingRemoteActor(RemoteActor):
    """Every message carries context variables."""

    __slots__ = ()

    @property
    def _propagation(self) -> Propagation:
        propagation = self.peer.host.propagation
        assert propagation is not None
        return propagation

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `RemoteActor.send`."""
        return self.try_send(Envelope(handler, args, kwargs))

    def try_send(self, envelope: Envelope) -> bool:
        """As `RemoteActor.try_send`."""
        add_headers(envelope, self._propagation)
        return super().try_send(envelope)

    async def send_when_room(self, envelope: Envelope) -> None:
        """As `RemoteActor.send_when_room`."""
        add_headers(envelope, self._propagation)
        await super().send_when_room(envelope)

    def send_past_bound(self, envelope: Envelope) -> None:
        """As `RemoteActor.send_past_bound`."""
        add_headers(envelope, self._propagation)
        super().send_past_bound(envelope)


class TracedRemoteActor(RemoteActor):
    """Every message to the actor is an event."""

    __slots__ = ()

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `RemoteActor.send`."""
        return self.try_send(Envelope(handler, args, kwargs))

    def _ask(self, link: Link, envelope: Envelope) -> None:
        self._send(link, envelope)

    def _send(self, link: Link, envelope: Envelope) -> int:
        sizes: list[int] = []

        def send() -> int:
            sizes.append(super(TracedRemoteActor, self)._send(link, envelope))
            return sizes[0]

        mode, size = _measured(link, send)
        host = self.peer.host
        host.traced(facts_of(envelope, host.name, self.ref, mode, size))
        return sizes[0]


class PropagatingTracedRemoteActor(TracedRemoteActor, PropagatingRemoteActor):
    """Carries context variables and is traced."""

    __slots__ = ()


class TracedReply(RemoteReply):
    """Every reply is an event of the node that sends it."""

    __slots__ = ()

    def set_result(self, value: Any, /) -> None:
        """As `RemoteReply.set_result`."""
        envelope = self.envelope
        if self._settle():
            self._trace("reply", envelope, lambda: self._send_result(value))

    def set_exception(self, error: BaseException, /) -> None:
        """As `RemoteReply.set_exception`."""
        envelope, link = self.envelope, self._link
        if self._settle():
            self._trace("error", envelope, lambda: link.fail(self._request, error))

    def _trace(self, verb: str, envelope: Envelope | None, send: Callable[[], int]) -> int:
        mode, size = _measured(self._link, send)
        home = self.cell.host
        method = "" if envelope is None else envelope.handler.name
        facts = answer_facts(verb, method, home.name, self.cell.ref, self._link.peer, mode, size)
        home.traced(facts)
        return size


class TracedSink(TracedReply, RemoteSink):
    """Every item is an event, too."""

    __slots__ = ()

    def put(self, value: Any) -> int:
        """As `RemoteSink.put`."""
        put = super().put
        return self._trace("item", self.envelope, lambda: put(value))

    def set_result(self, _value: Any = None, /) -> None:
        """As `RemoteSink.set_result`, without an event: the end is no item."""
        RemoteSink.set_result(self)


def answer_classes(*, traced: bool) -> tuple[type[RemoteReply], type[RemoteReply]]:
    """Return the class of the answers to asks, and that of the items of streams."""
    return (TracedReply, TracedSink) if traced else (RemoteReply, RemoteSink)


def remote_actor_class(*, propagates: bool, traced: bool) -> Callable[..., RemoteActor]:
    """Return the class of the remote actors of a node."""
    return _CLASSES[propagates, traced]


_CLASSES: Final[dict[tuple[bool, bool], type[RemoteActor]]] = {
    (False, False): RemoteActor,
    (True, False): PropagatingRemoteActor,
    (False, True): TracedRemoteActor,
    (True, True): PropagatingTracedRemoteActor,
}
