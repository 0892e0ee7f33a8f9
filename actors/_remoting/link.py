"""A link: everything two nodes say to each other, over one channel.

Rule 1: what is awaited over a link ends with the link: reply, error, or `NodeDown`.
Rule 2: messages go in the order they were sent; control goes first.
Rule 3: a message of the wrong shape ends the link with one clear error, and nothing else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar
from weakref import ref as ref_to

from actors._base.errors import ActorsError, failed_codec
from actors._messaging.ref import Ref
from actors._remoting import protocol as wire
from actors._remoting.header_codec import packed
from actors.transport import (
    PLAIN,
    ByReference,
    Channel,
    ChannelBroken,
    ChannelClosed,
    Decoder,
    Encoder,
    Endpoint,
    Extra,
    InProcessEncoder,
    Lane,
    Prerequisite,
    ThreadChannel,
    TransportError,
    Undecoded,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence

    from actors._base.loop import Loop, Task, Waiter
    from actors._messaging.mailbox import Envelope
    from actors._messaging.stream import ItemSink
    from actors._remoting.operations import Call, FdNote, Handlers, Note
    from actors._remoting.shared_memory import SharedMemory


__all__ = ["Link", "LinkOwner", "NotYetAttached"]

P = ParamSpec("P")
R = TypeVar("R")


class NotYetAttached(TransportError):
    """What goes over a link only once it has its socket."""


class PendingAsk(Protocol):
    """The account an ask was booked on."""

    ref: Ref[Any]

    def answered(self, envelope: Envelope) -> None: ...


class LinkOwner(Protocol):
    """The runtime a link belongs to: it supplies the outside of both codecs and takes what arrives."""

    loop: Loop
    memory: SharedMemory
    handlers: Handlers[Link]

    def ref_fields(self, ref: Ref[Any]) -> list[Any]: ...
    def make_ref(self, fields: list[Any]) -> Ref[Any]: ...
    def resolve_class(self, module: str, qualname: str) -> type: ...
    def wire_module(self, module: str) -> str: ...
    def new_intake(self, link: Link) -> Callable[[list[Any], Lane], None]: ...
    def link_room(self, link: Link) -> None: ...
    def link_closed(self, link: Link, error: TransportError | None) -> None: ...


def _teller(link: ref_to[Link]) -> Callable[[int, list[int]], object]:
    """Return what sends numbers over *link*; the node's memory has it, and must not keep an ended link."""

    def tell(op: int, numbers: list[int]) -> None:
        alive = link()
        if alive is not None:
            alive.send([op, numbers], Lane.CONTROL)

    return tell


class Link:
    """One end. Before `attach` it already takes messages, and keeps them for the channel."""

    def __init__(self, owner: LinkOwner, peer: str) -> None:
        self.peer = peer
        self.owner = owner
        self.closed: str | None = None
        self.pending: dict[int, tuple[Envelope, PendingAsk]] = {}
        self.calls: dict[int, Waiter] = {}
        self.serving: dict[int, Callable[[], None]] = {}
        self._tasks: dict[int, Task] = {}
        self._newest = 0
        self._early: set[int] = set()
        self.numbers = 0
        ref: Extra[Any] = Extra(Ref, owner.ref_fields, owner.make_ref)
        self.attachments = owner.memory.new_attachments(_teller(ref_to(self)))
        self._packing = Encoder(
            extras=[ref], rename=owner.wire_module, attachments=self.attachments
        )
        self.encoder: Encoder | InProcessEncoder = self._packing
        self._decoder = Decoder(
            extras=[ref], resolve=owner.resolve_class, attachments=self.attachments
        )
        self.sinks: dict[int, ItemSink] = {}
        self._take = owner.new_intake(self)
        self._channel: Channel | ThreadChannel | None = None
        # How a message gets on its way: into the encoder until there is a channel.
        self.post: Callable[[list[Any]], int] = self._packing.pack

    def attach(self, way: socket.socket | Endpoint) -> None:
        """Give the link its socket, or its door within the process; what was kept is sent."""
        channel: Callable[..., Any] = ThreadChannel if isinstance(way, Endpoint) else Channel
        self._channel = channel(
            way,
            self.owner.loop,
            encoder=self._packing,
            decoder=self._decoder,
            receive=self._take,
            receive_fds=self._receive_fds,
            closed=self._closed,
            on_room=self._room,
        )
        self.encoder = self._channel.encoder
        self.post = self._channel.send
        self.attachments.open = True
        self._channel.flush()
        self._room()

    @property
    def attached(self) -> bool:
        """Whether there is a socket under it."""
        return self._channel is not None

    @property
    def congested(self) -> bool:
        """Whether so many bytes wait for the other node that senders have to wait too."""
        channel = self._channel
        return channel.congested if channel is not None else self._packing.pending > _UNATTACHED

    def _room(self) -> None:
        self.owner.link_room(self)

    def ship(self, message: list[Any]) -> int:
        """Post a message with user values in it, behind the attachments it needs; return its size in bytes.

        Raises:
            NotYet: it needs a socket, and there is none yet.
            TooBig, ChannelBroken, ChannelClosed: nothing was queued, and nothing moved.
        """
        transaction = self.attachments.transaction
        if transaction.empty:
            return self.post(message)
        try:
            self.encoder.check_size(message)
            self._send_ahead(transaction.prerequisites)
            size = self.post(message)
        except BaseException:
            transaction.undo()
            raise
        transaction.commit()
        return size

    def _send_ahead(self, prerequisites: list[Prerequisite]) -> None:
        while prerequisites:
            if self._channel is None:
                raise NotYetAttached("the link has no socket yet, which descriptors could take")
            op, numbers, fds = prerequisites.pop(0)
            # In the lane of messages: just ahead of the one that needs it, and of no other.
            self._channel.send_fds([wire.NOTE, op, [numbers]], fds, Lane.DATA)

    # -- sending -------------------------------------------------------------------------

    def send(self, message: list[Any], lane: Lane = Lane.DATA) -> int:
        """Queue one message whose user values are already encoded; an ended link drops it.

        Returns:
            its size in bytes.

        Raises:
            TooBig: over the frame limit; nothing was queued.
        """
        if self._channel is None:
            return self._packing.pack(message, lane)
        try:
            return self._channel.send(message, lane)
        except (ChannelBroken, ChannelClosed):
            return 0  # whoever awaits something over this link is told by its end

    def send_envelope(self, account: PendingAsk, envelope: Envelope, *, stream: bool) -> int:
        """Queue an actor's message; its reply, if one is awaited, is matched by number.

        Returns:
            its size in bytes.

        Raises:
            Unsendable, TooBig, ChannelBroken, ChannelClosed: nothing was queued.
        """
        more: Sequence[Any] = ()
        if envelope.hooks is None:
            args, kwargs = self.encoder.encode_args(envelope.args, envelope.kwargs)
        else:
            args, kwargs, more = packed(envelope, self.encoder, self._packing)
        deadline = envelope.deadline
        ttl = None if deadline is None else max(0.0, deadline - self.owner.loop.now())
        rest = (kwargs, ttl, *more) if more or kwargs is not None or ttl is not None else ()
        name = envelope.handler.name
        uid = account.ref.uid
        if envelope.reply is None:
            return self.ship([wire.TELL, uid, name, args, *rest])
        number = self.number()
        op = wire.STREAM if stream else wire.ASK
        size = self.ship([op, uid, number, name, args, *rest])
        envelope.request = number
        self.pending[number] = (envelope, account)
        return size

    def flush(self) -> None:
        """Write now what the socket takes, not at the end of this turn of the loop."""
        if self._channel is not None:
            self._channel.flush()

    def number(self) -> int:
        """Return the next request number of this end."""
        self.numbers += 1
        return self.numbers

    def reply(self, request: int, value: Any) -> int:
        """Answer an ask; a value that cannot travel is the asker's error. Return the answer's size in bytes."""
        try:
            if type(value) in PLAIN:
                return self.post([wire.REPLY, request, value])
            value = self.encoder.encode_value(value, "reply")
            return self.ship([wire.REPLY, request, value])
        except (ChannelBroken, ChannelClosed):
            return 0  # so is the asker's end
        except Exception as error:  # noqa: BLE001 - a registered codec's too; the asker is told
            return self.fail(request, failed_codec("reply", error))

    def fail(self, request: int, error: BaseException) -> int:
        """Answer an ask by *error*; return the answer's size in bytes."""
        return self.send([wire.ERROR, request, self.encoder.encode_error(error)])

    def note(self, op: Note[P], /, *args: P.args, **_none: P.kwargs) -> None:
        """Have the other node run *op*, without an answer; an ended link drops it."""
        if self.closed is None:
            name = op.name
            self.send([wire.NOTE, name, self._plain_or_copied(name, args)], Lane.CONTROL)

    def note_fds(
        self, op: FdNote[P], fds: tuple[int, ...], /, *args: P.args, **_none: P.kwargs
    ) -> None:
        """Have the other node run *op* with descriptors, which are closed here once they are written.

        Raises:
            ChannelBroken, ChannelClosed: nothing was sent; the descriptors are closed.
        """
        if self.closed is not None:
            _close_all(fds)
        self._send_fds(op.name, fds, args, keep_open=False)

    def lend_fds(
        self, op: FdNote[P], fds: tuple[int, ...], /, *args: P.args, **_none: P.kwargs
    ) -> None:
        """Have the other node run *op* with descriptors, which stay open here.

        Raises:
            ChannelBroken, ChannelClosed: nothing was sent.
        """
        self._send_fds(op.name, fds, args, keep_open=True)

    def _send_fds(
        self, name: str, fds: tuple[int, ...], args: tuple[Any, ...], *, keep_open: bool
    ) -> None:
        if self.closed is not None:
            raise ChannelClosed(f"{self.peer}: {self.closed}")
        if self._channel is not None:
            message = [wire.NOTE, name, self._plain_or_copied(name, args)]
            self._channel.send_fds(message, fds, keep_open=keep_open)

    def note_by_reference(self, op: Note[P], /, *args: P.args, **_none: P.kwargs) -> None:
        """Have a node in this process run *op* with the arguments themselves, not copies.

        Raises:
            ChannelBroken, ChannelClosed: nothing was sent.
        """
        if self._channel is not None:
            self._channel.send([wire.NOTE, op.name, ByReference(args)], Lane.CONTROL)

    def _plain_or_copied(self, op: str, args: tuple[Any, ...]) -> list[Any]:
        if all(_plain(map(type, arg)) if type(arg) is list else type(arg) in PLAIN for arg in args):
            return list(args)
        with self.attachments.only_copies():
            return [self._packing.encode_value(arg, op) for arg in args]

    async def call(self, op: Call[P, R], /, *args: P.args, **_none: P.kwargs) -> R:
        """Have the other node run *op*; return its result, or raise its error."""
        if self.closed is not None:
            raise ActorsError(f"{self.peer}: {self.closed}")
        number = self.number()
        with self.attachments.only_copies():
            values = [
                self._packing.encode_value(arg, f"args[{index}]") for index, arg in enumerate(args)
            ]
        self.send([wire.CALL, number, op.name, values], Lane.CONTROL)
        waiter = self.calls[number] = self.owner.loop.waiter()
        try:
            result: R = await waiter
        except BaseException:
            if waiter.cancelled() and self.closed is None:
                self.send([wire.CANCEL, number], Lane.CONTROL)
            raise
        finally:
            self.calls.pop(number, None)
        return result

    # -- receiving -----------------------------------------------------------------------

    def _receive_fds(self, message: list[Any], fds: list[int]) -> None:
        try:
            _, op, args = message
            take = None if op in _AHEAD else self.owner.handlers.fd_notes[op]
        except Exception:
            _close_all(fds)  # nobody here wants them: this ends the link
            raise
        if take is None:
            self.attachments.receive_prerequisite(op, args[0], fds)
        else:
            take(self, fds, *args)

    def serve_call(self, message: list[Any]) -> None:
        """Run a call of the other runtime in a task and answer it."""
        _, number, op, args = message
        if type(args) is Undecoded:
            self.send([wire.FAILED, number, self.encoder.encode_error(args.error)], Lane.CONTROL)
            return
        self._tasks[number] = self.owner.loop.start(
            self._serve, number, op, args, name=f"{self.peer}: {op}"
        )

    async def _serve(self, number: int, op: str, args: list[Any]) -> None:
        try:
            result = await self.owner.handlers.calls[op](self, *args)
            with self.attachments.only_copies():
                answer = [wire.ANSWER, number, self._packing.encode_value(result, "result")]
        except Exception as error:  # noqa: BLE001 - the caller at the other end is told
            answer = [wire.FAILED, number, self.encoder.encode_error(error)]
        finally:
            self._tasks.pop(number, None)
        if self.closed is None:
            self.send(answer, Lane.CONTROL)

    def cancel_served(self, number: int) -> None:
        """Break off what the other end does not wait for any more."""
        if number in self.serving:
            self.serving.pop(number)()
        elif number in self._tasks:
            self._tasks.pop(number).cancel()
        elif number > self._newest:
            self._early.add(number)

    def begins(self, number: int) -> bool:
        """Take note of a request; return whether it is still wanted, or was overtaken by its end."""
        self._newest = number
        if not self._early:
            return True
        wanted = number not in self._early
        self._early = {later for later in self._early if later > number}
        return wanted

    def answered(self, message: list[Any], *, failed: bool) -> None:
        """Give a call's answer to whoever awaits it."""
        waiter = self.calls.get(message[1])
        if waiter is not None and not waiter.done():
            (waiter.set_exception if failed else waiter.set_result)(message[2])

    # -- the end -------------------------------------------------------------------------

    def close(self) -> None:
        """Close this end; what is awaited over it fails."""
        if self._channel is not None:
            self._channel.close()
        else:
            self._closed(None)

    def _closed(self, error: TransportError | None) -> None:
        if self.closed is not None:
            return
        self.closed = str(error) if error is not None else "the link has ended"
        self.attachments.close()
        self.owner.memory.forget(self.attachments)
        for task in list(self._tasks.values()):
            task.cancel()
        withdraw = list(self.serving.values())
        self.serving.clear()
        for cancel in withdraw:
            cancel()
        self.owner.link_closed(self, error)

    def stats(self) -> Any:
        """Return the channel's counters."""
        return None if self._channel is None else self._channel.stats()


_UNATTACHED: Final = 1024 * 1024
_plain: Final = PLAIN.issuperset
_AHEAD: Final = ("arena", "fds")


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
