"""Remote actors and replies of a system that propagates context variables or traces messages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from actors._actor.instrumented_cell import add_headers
from actors._messaging.mailbox import Envelope
from actors._messaging.message_trace import answer_facts, facts_of, strongest
from actors._remoting.receiver import RemoteReply, RemoteSink
from actors._remoting.remote_actor import RemoteActor
from actors.transport import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.message_table import Handler
    from actors._messaging.ref import Ref
    from actors._remoting.link import Link
    from actors._remoting.remote_actor import PeerInterface

__all__ = ["answer_classes", "remote_actor_class"]


def _measured(link: Link, send: Callable[[], int]) -> tuple[Mode, int]:
    """Send one message; return its mode, and its bytes, those in shared memory included."""
    attachments = link.attachments
    modes, lent = attachments.modes.copy(), attachments.bytes_lent
    size = send()
    used = [mode for mode, count in attachments.modes.items() if count != modes[mode]]
    return strongest([*used, Mode.COPY]), size + attachments.bytes_lent - lent


class InstrumentedRemoteActor(RemoteActor):
    """A remote actor that gives every message context variables, reports every message, or both."""

    __slots__ = ("_traced",)

    def __init__(self, peer: PeerInterface, ref: Ref[Any], *, traced: bool) -> None:
        super().__init__(peer, ref)
        self._traced = traced

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `RemoteActor.send`."""
        return self.try_send(Envelope(handler, args, kwargs))

    def try_send(self, envelope: Envelope) -> bool:
        """As `RemoteActor.try_send`."""
        self._prepare(envelope)
        return super().try_send(envelope)

    async def send_when_room(self, envelope: Envelope) -> None:
        """As `RemoteActor.send_when_room`."""
        self._prepare(envelope)
        await super().send_when_room(envelope)

    def wait_in_line(
        self, envelope: Envelope, refused: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        """As `RemoteActor.wait_in_line`."""
        self._prepare(envelope)
        return super().wait_in_line(envelope, refused)

    def send_past_bound(self, envelope: Envelope) -> None:
        """As `RemoteActor.send_past_bound`."""
        self._prepare(envelope)
        super().send_past_bound(envelope)

    def _prepare(self, envelope: Envelope) -> None:
        propagation = self.peer.host.propagation
        if propagation is not None:
            add_headers(envelope, propagation, self.ref)

    def withdraw(self, envelope: Envelope) -> None:
        """As `RemoteActor.withdraw`; the span of an ask ends with it."""
        propagation = self.peer.host.propagation
        if propagation is not None and propagation.trace is not None:
            propagation.trace.given_up(envelope)
        super().withdraw(envelope)

    def _ask(self, link: Link, envelope: Envelope) -> None:
        self._send(link, envelope)

    def _send(self, link: Link, envelope: Envelope) -> int:
        send = super()._send
        if not self._traced:
            return send(link, envelope)
        host = self.peer.host
        mode, size = _measured(link, lambda: send(link, envelope))
        host.traced(facts_of(envelope, host.name, self.ref, mode, size))
        return size


class TracedReply(RemoteReply):
    """Every reply is an event of the node that sends it."""

    __slots__ = ()

    def set_result(self, value: Any, /) -> None:
        """As `RemoteReply.set_result`."""
        envelope = self.envelope
        if self._settle():
            self._trace("reply", envelope, lambda: self._send_result(value, envelope))

    def set_exception(self, error: BaseException, /) -> None:
        """As `RemoteReply.set_exception`."""
        envelope, link = self.envelope, self.link
        if self._settle():
            self._trace("error", envelope, lambda: link.fail(self._request, error))

    def _trace(self, verb: str, envelope: Envelope | None, send: Callable[[], int]) -> int:
        mode, size = _measured(self.link, send)
        home = self.cell.host
        method = "" if envelope is None else envelope.handler.name
        facts = answer_facts(verb, method, home.name, self.cell.ref, self.link.peer, mode, size)
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


def remote_actor_class(
    *, propagates: bool, traced: bool
) -> Callable[[PeerInterface, Ref[Any]], RemoteActor]:
    """Return what makes the remote actors of a node."""
    if propagates or traced:
        return partial(InstrumentedRemoteActor, traced=traced)
    return RemoteActor
