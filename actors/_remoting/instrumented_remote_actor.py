"""Remote actors of a system that propagates context or traces: what they do beside sending a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._actor.instrumented_cell import add_headers
from actors._messaging.mailbox import Envelope
from actors._messaging.message_trace import answer_facts, facts_of, strongest
from actors._remoting.remote_actor import RemoteActor, RemoteReply, RemoteSink
from actors.transport import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.message_table import Handler
    from actors._remoting.link import Link

__all__ = ["account_class", "answer_classes"]


def _measured(link: Link, send: Callable[[], int]) -> tuple[Mode, int]:
    """Send one message; return how it travelled, and its bytes, of which some went beside the frame."""
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
        propagation = self.peer.runtime.propagation
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
        runtime = self.peer.runtime
        runtime.traced(facts_of(envelope, runtime.name, self.ref, mode, size))
        return sizes[0]


class PropagatingTracedRemoteActor(TracedRemoteActor, PropagatingRemoteActor):
    """Both."""

    __slots__ = ()


class TracedReply(RemoteReply):
    """What goes back is an event, of the node that sends it."""

    __slots__ = ()

    def set_result(self, value: Any, /) -> None:
        """As `RemoteReply.set_result`."""
        envelope, link = self.envelope, self._link
        if self._settle():
            self._trace("reply", envelope, lambda: link.reply(self._request, value))

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
    """So is every item."""

    __slots__ = ()

    def put(self, value: Any) -> int:
        """As `RemoteSink.put`."""
        put = super().put
        return self._trace("item", self.envelope, lambda: put(value))

    def set_result(self, _value: Any = None, /) -> None:
        """As `RemoteSink.set_result`: the end is no item."""
        RemoteSink.set_result(self)


def answer_classes(*, traced: bool) -> tuple[type[RemoteReply], type[RemoteReply]]:
    """Return the class of the answers to asks, and that of the items of streams."""
    return (TracedReply, TracedSink) if traced else (RemoteReply, RemoteSink)


def account_class(*, carries: bool, traced: bool) -> Callable[..., RemoteActor]:
    """Return the class of the accounts of a node."""
    return _CLASSES[carries, traced]


_CLASSES: Final[dict[tuple[bool, bool], type[RemoteActor]]] = {
    (False, False): RemoteActor,
    (True, False): PropagatingRemoteActor,
    (False, True): TracedRemoteActor,
    (True, True): PropagatingTracedRemoteActor,
}
