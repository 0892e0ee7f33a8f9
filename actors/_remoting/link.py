"""A link: one end of all messages between two nodes, over one channel.

Rule 1: whatever is awaited over a link ends with the link at the latest: by reply, error, or `NodeDown`.
Rule 2: messages go in the order they were sent; the control lane goes first.
Rule 3: a message of the wrong shape ends the link with an error that names it.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar
from weakref import ref as ref_to

from actors._base.cpus import has_second_cpu
from actors._base.errors import ActorsError
from actors._base.loop import from_monotonic, to_monotonic
from actors._base.twins import bind
from actors._remoting import protocol as wire
from actors._remoting.header_codec import encode_with_headers
from actors._remoting.unattached import NotYetAttached, Unattached
from actors.transport import (
    ENVELOPE,
    PLAIN,
    ByReference,
    Channel,
    ChannelBroken,
    ChannelClosed,
    Endpoint,
    InProcessEncoder,
    Lane,
    Limits,
    Mode,
    Prerequisite,
    ThreadChannel,
    TooBig,
    TransportError,
    Undecoded,
    copy_args,
    no_problem,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence

    from actors._base.loop import Loop, Task, Waiter
    from actors._messaging.mailbox import Envelope
    from actors._messaging.ref import Ref
    from actors._remoting.far_deadlines import FarDeadlines
    from actors._remoting.operation import Call, FdNote, Handlers, Note
    from actors._remoting.shared_memory import SharedMemory
    from actors.transport import Attachments, Decoder, Encoder, SimpleArgs
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["Link", "LinkHost"]

_PREREQUISITES: Final = ("arena", "fds")
"""Notes with descriptors that go ahead of the message that needs them."""
_plain: Final = PLAIN.issuperset

P = ParamSpec("P")
R = TypeVar("R")


class PendingAsk(Protocol):
    """The remote actor that was asked."""

    ref: Ref[Any]

    def answered(self, envelope: Envelope) -> None: ...


class LinkHost(Protocol):
    """The actor host, as its links see it."""

    loop: Loop
    has_rings: bool
    largest: int
    memory: SharedMemory
    handlers: Handlers[Link]

    @property
    def far_deadlines(self) -> FarDeadlines: ...

    def new_encoder(self, attachments: Attachments) -> Encoder: ...
    def new_decoder(self, attachments: Attachments) -> Decoder: ...
    def new_receiver(self, link: Link) -> Callable[[list[Any], Lane], None]: ...
    def link_has_room(self, link: Link) -> None: ...
    def link_closed(self, link: Link, error: TransportError | None) -> None: ...


def _number_sender(link: ref_to[Link]) -> Callable[[int, list[int]], object]:
    """Return what sends numbers over *link*, for the node's memory, which must not keep an ended link."""

    def send(op: int, numbers: list[int]) -> None:
        alive = link()
        if alive is not None:
            alive.send([op, numbers], Lane.CONTROL)

    return send


class _Fields:
    __slots__ = ("numbers", "out", "pending", "simple_args", "write")


class Link(_Fields):
    """One end. Before `attach` it already takes messages, and keeps them for the channel.

    Attributes:
        peer: the address of the other node.
        closed: why the link has ended, None while it has not.
        far: whether the other end is on another machine; False until `attach`.
        faulty: whether it has ended because the other end sent what it must not send.
        out: says by `congested` whether senders have to wait, as too many bytes are unwritten.
        write: queues one message of plain fields and returns its size in bytes; an ended link raises.
        simple_args: returns what goes for the arguments of a message if that takes no Python code, or None.
        pending: by request number, the asks whose replies are awaited.
        calls: by request number, the waiters for answers of the other node's host.
        serving: by request number, what cancels a request of the other node.
        serves: what the other node's host may have done here.

    Args:
        host: of this end.
        peer: as the attribute.
        serves: as the attribute; None is all that the host serves.
        lends: whether this end lends memory to the other one, which must be certain to have ended before
            that is used again.
        leaves_machine: whether the other node is on another machine: everything is copied, and what cannot
            be is refused.
    """

    def __init__(
        self,
        host: LinkHost,
        peer: str,
        *,
        serves: Handlers[Link] | None = None,
        lends: bool = True,
        leaves_machine: bool = False,
    ) -> None:
        self.peer = peer
        self.host = host
        self.serves: Handlers[Link] = host.handlers if serves is None else serves
        self.closed: str | None = None
        self.faulty: bool = False
        self.far: bool = False
        self.pending: dict[int, tuple[Envelope, PendingAsk]] = {}
        self.calls: dict[int, Waiter] = {}
        self.serving: dict[int, Callable[[], None]] = {}
        self._tasks: dict[int, Task] = {}
        self.newest_request: int = 0
        self.cancelled_early: set[int] = set()
        """Requests whose cancellation, which goes in the control lane, came before them."""
        self.numbers: int = 0
        self.attachments: Attachments = host.memory.new_attachments(
            peer, _number_sender(ref_to(self))
        )
        self.attachments.copy_only = not lends
        self._lends = lends
        self._to_wire: Callable[[Loop, float], float] = to_monotonic
        self.from_wire: Callable[[Loop, float], float] = from_monotonic
        """Returns a deadline that came over this link as a time of a loop's clock."""
        self._packing = host.new_encoder(self.attachments)
        if leaves_machine:
            self._leave_machine()
        self.encoder: Encoder | InProcessEncoder = self._packing
        self._decoder = host.new_decoder(self.attachments)
        self._take = host.new_receiver(self)
        self._channel: Channel | ThreadChannel | None = None
        self.out: Channel | ThreadChannel | Unattached = Unattached(self._packing)
        self.write: Callable[[list[Any]], int] = self._packing.pack
        self.simple_args: SimpleArgs | None = self._packing.simple_args

    def attach(self, end: socket.socket | Endpoint | TlsSession) -> None:
        """Give the link its socket, endpoint within the process, or session, and send what was kept."""
        channel: Callable[..., Any] = (
            ThreadChannel if isinstance(end, Endpoint) else getattr(end, "channel_type", Channel)
        )
        if channel not in {ThreadChannel, Channel}:
            self._leave_machine()
        if channel is ThreadChannel:
            self._packing.main_problem = no_problem  # the other node's `__main__` is this one
            self.simple_args = copy_args
        self._channel = self.out = channel(
            end,
            self.host.loop,
            encoder=self._packing,
            decoder=self._decoder,
            receive=self._take,
            receive_fds=self._receive_fds,
            closed=self._closed,
            on_room=self._room,
            limits=Limits(message=self.host.largest, envelope=ENVELOPE),
        )
        if type(self._channel) is Channel and self._lends and self.host.has_rings:
            self._channel.rings.allow(has_second_cpu)
        elif isinstance(self._channel, ThreadChannel):
            self._channel.bell_watch.allow(has_second_cpu)
        self.encoder = self._channel.encoder
        self.write = self._channel.send
        self.attachments.open = True
        self._channel.flush()
        self._room()

    def _leave_machine(self) -> None:
        """Copy everything from now on, and refuse what cannot be, as it goes to another machine."""
        self.far = True
        self._lends = False
        self._packing.main_problem = _stays_home
        self._to_wire = self.host.far_deadlines.to_wire
        self.from_wire = self.host.far_deadlines.from_wire
        self.attachments.refuse_descriptors()

    async def socket_closed(self) -> None:
        """Wait until its socket is closed: between machines that is a little later than its own end."""
        channel = self._channel
        if not getattr(channel, "gone", True):
            waiter = self.host.loop.waiter()
            channel.on_gone = partial(_wake, waiter)  # type: ignore[union-attr] # of a TlsChannel
            await waiter

    @property
    def attached(self) -> bool:
        """Whether it has its socket or endpoint."""
        return self._channel is not None

    def _room(self) -> None:
        self.host.link_has_room(self)

    def write_encoded(self, message: list[Any]) -> int:
        """Write a message with encoded user values, behind the attachments it needs; return its size.

        Raises:
            NotYetAttached: it needs a socket, and there is none yet.
            NoRoom, TooBig, ChannelBroken, ChannelClosed: nothing was queued, and nothing moved.
        """
        transaction = self.attachments.transaction
        if transaction.empty:
            return self.write(message)
        try:
            self._send_ahead(transaction.prerequisites, self.encoder.lane_for(message))
            size = self.write(message)
        except BaseException:
            transaction.undo()
            raise
        transaction.commit()
        return size

    def pack_again(self, value: Any) -> bool:
        """Encode and pack a value as for a message, and drop it; return whether all of it could be done again.

        What it would lend or move stays as it is.
        """
        if self.encoder is not self._packing:
            return False  # to a thread: nothing is packed
        attachments = self.attachments
        modes, lent = attachments.modes.copy(), attachments.bytes_lent
        try:
            self._packing.batches.pack_one(self._packing.encode_value(value))
        except Exception:  # noqa: BLE001 - what was moved is gone; a user's codec may fail the second time
            return False
        finally:
            attachments.transaction.undo()
            again, attachments.modes, attachments.bytes_lent = attachments.modes, modes, lent
        # A payload that is copied because there is no shared memory for it yet says nothing of graphs.
        return again[Mode.COPY] == modes[Mode.COPY]

    def _send_ahead(self, prerequisites: list[Prerequisite], lane: int) -> None:
        """Send the notes that a message needs, which goes in that lane."""
        while prerequisites:
            if self._channel is None:
                raise NotYetAttached("the link has no socket yet to send descriptors over")
            op, numbers, fds = prerequisites.pop(0)
            # A segment is for later messages too, which may pass this one.
            self._channel.send_fds(
                [wire.NOTE, op, [numbers]], fds, Lane.DATA if op == "arena" else lane
            )

    # -- sending -------------------------------------------------------------------------

    def send(self, message: list[Any], lane: Lane = Lane.DATA) -> int:
        """Queue one message whose user values are already encoded; an ended link drops it.

        Returns:
            its size in bytes.

        Raises:
            TooBig: over the limit; nothing was queued.
        """
        if self._channel is None:
            return self._packing.pack(message, lane)
        try:
            return self._channel.send(message, lane)
        except (ChannelBroken, ChannelClosed):
            return 0  # the end of the link fails whatever is awaited over it

    def send_last(self, message: list[Any]) -> None:
        """Send one small message when all that was sent before is on its way, big messages included."""
        if self.closed is None and not self._packing.batches.bulk.hold(message):
            self.send(message)

    def cancel(self, request: int, uid: int) -> None:
        """Cancel a request to an actor, or have it dropped when it arrives."""
        self.send([wire.CANCEL, request], Lane.CONTROL)
        if uid in self._packing.batches.bulk.behind:
            # The request itself may still have to be written, behind others that are not in its lane.
            self.send([wire.WITHDRAW, uid, request])

    def full_for(self, key: int | str) -> bool:
        """Whether a big message to an actor or topic has to wait, as others do."""
        return self._packing.batches.bulk.full_for(key)

    def encode(self, envelope: Envelope) -> tuple[Any, tuple[Any, ...]]:
        """Return an actor's message as its encoded arguments, and the fields behind them.

        Raises:
            Unsendable: naming the argument, or the context variable.
        """
        headers: Sequence[Any] = ()
        if envelope.hooks is None:
            args, kwargs = self.encoder.encode_args(envelope.args, envelope.kwargs)
        else:
            args, kwargs, headers = encode_with_headers(envelope, self.encoder, self._packing)
        deadline = envelope.deadline
        if deadline is not None:
            deadline = self._to_wire(self.host.loop, deadline)
        if headers or kwargs is not None or deadline is not None:
            return args, (kwargs, deadline, *headers)
        return args, ()

    def flush(self) -> None:
        """Write now what the socket takes, not at the end of this turn of the loop."""
        if self._channel is not None:
            self._channel.flush()

    async def control_written(self) -> None:
        """Wait until what was sent in the control lane is read by the other end even if this process dies."""
        if self._channel is not None and self.closed is None:
            waiter = self.host.loop.waiter()
            self._channel.when_written(partial(_wake, waiter))
            await waiter

    def number(self) -> int:
        """Return the next request number of this end."""
        self.numbers += 1
        return self.numbers

    def fail(self, request: int, error: BaseException) -> int:
        """Answer an ask by *error*; return the answer's size in bytes."""
        if isinstance(error, TooBig):
            error.why = self.host.memory.describe()
        return self.send([wire.ERROR, request, self.encoder.encode_error(error)])

    def note(self, op: Note[P], /, *args: P.args, **_none: P.kwargs) -> None:
        """Have the other node run *op*, without an answer; an ended link drops it."""
        if self.closed is None:
            name = op.name
            self.send([wire.NOTE, name, self._plain_or_copied(name, args)], Lane.CONTROL)

    def note_behind(self, op: Note[P], /, *args: P.args, **_none: P.kwargs) -> None:
        """As `note`, behind the messages that were sent before; the arguments are plain."""
        self.send_last([wire.NOTE, op.name, list(args)])

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
            self._channel.send([wire.NOTE, op.name, ByReference((args,))], Lane.CONTROL)

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
        with self.attachments.only_copies(descriptors=True):
            values = [
                self._packing.encode_value(arg, f"args[{index}]") for index, arg in enumerate(args)
            ]
        self._send_call([wire.CALL, number, op.name, values])
        waiter = self.calls[number] = self.host.loop.waiter()
        try:
            result: R = await waiter
        except BaseException:
            if waiter.cancelled() and self.closed is None:
                self.send([wire.CANCEL, number], Lane.CONTROL)
            raise
        finally:
            self.calls.pop(number, None)
        return result

    def _send_call(self, message: list[Any]) -> None:
        transaction = self.attachments.transaction
        try:
            self._send_ahead(transaction.prerequisites, Lane.CONTROL)
            self.send(message, Lane.CONTROL)
        except (ChannelBroken, ChannelClosed):
            transaction.undo()  # the caller is told by the end of the link
        except BaseException:
            transaction.undo()
            raise
        else:
            transaction.commit()

    # -- receiving -----------------------------------------------------------------------

    def _receive_fds(self, message: list[Any], fds: list[int]) -> None:
        try:
            _, op, args = message
            take = None if op in _PREREQUISITES else self.serves.fd_notes[op]
        except Exception:
            _close_all(fds)  # no handler takes them, and the error ends the link
            raise
        if not fds:
            self._lose_fds(op, args)
        elif take is None:
            self._take_prerequisite(op, args[0], fds)
        else:
            take(self, fds, *args)

    def _take_prerequisite(self, op: str, numbers: Any, fds: list[int]) -> None:
        try:
            self.attachments.receive_prerequisite(op, numbers, fds)
        except OSError:  # no descriptor or no memory to map it with
            self._lose_fds(op, [numbers])

    def _lose_fds(self, op: str, args: list[Any]) -> None:
        """Take a note whose descriptors the kernel dropped: the message that needs them fails alone."""
        if op not in _PREREQUISITES:
            self.serves.fds_lost[op](self, *args)
            return
        unmapped = self.attachments.lose_prerequisite(op, args[0])
        if unmapped:
            self.send([wire.UNMAPPED, unmapped], Lane.CONTROL)

    def serve_call(self, message: list[Any]) -> None:
        """Run a call of the other host in a task and answer it."""
        _, number, op, args = message
        if type(args) is Undecoded:
            self.send([wire.FAILED, number, self.encoder.encode_error(args.error)], Lane.CONTROL)
            return
        self._tasks[number] = self.host.loop.start(
            self._serve, number, op, args, name=f"{self.peer}: {op}"
        )

    async def _serve(self, number: int, op: str, args: list[Any]) -> None:
        try:
            if op not in self.serves.calls:
                raise ActorsError(f"{op!r} is not served here")  # noqa: TRY301 - as any other
            result = await self.serves.calls[op](self, *args)
            with self.attachments.only_copies():
                answer = [wire.ANSWER, number, self._packing.encode_value(result, "result")]
        except Exception as error:  # noqa: BLE001 - the caller at the other end is told
            answer = [wire.FAILED, number, self.encoder.encode_error(error)]
        finally:
            self._tasks.pop(number, None)
        if self.closed is None:
            try:
                self.send(answer, Lane.CONTROL)
            except TooBig as error:
                failed = [wire.FAILED, number, self.encoder.encode_error(error)]
                self.send(failed, Lane.CONTROL)

    def cancel_served(self, number: int) -> None:
        """Cancel a request whose answer the other end no longer awaits."""
        if number in self.serving:
            self.serving.pop(number)()
        elif number in self._tasks:
            self._tasks.pop(number).cancel()
        elif number > self.newest_request:
            self.cancelled_early.add(number)

    def interrupt(self, number: int) -> None:
        """Cancel the handler of an ask of the other end, which gets an answer when it has ended."""
        reply: Any = self.serving.get(number)
        if hasattr(reply, "interrupt"):
            reply.interrupt()

    def begins(self, number: int, *, late: bool) -> bool:
        """Note that a request has come; return whether it is wanted: its cancellation may have come first.

        Args:
            number: its number.
            late: whether newer ones may have come before it.
        """
        if not late:
            self.newest_request = number
        if not self.cancelled_early:
            return True
        wanted = number not in self.cancelled_early
        if late:
            self.cancelled_early.discard(number)
        else:
            self.cancelled_early = {later for later in self.cancelled_early if later > number}
        return wanted

    def answered(self, message: list[Any], *, failed: bool) -> None:
        """Resume the waiter of a call with its answer."""
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

    def lose(self, error: TransportError) -> None:
        """End a link that gets no socket: what is awaited over it fails."""
        if self._channel is None:
            self._closed(error)

    def abandon(self) -> None:
        """Close the socket alone, in a process that was forked from the one that has this link."""
        self.closed = "this process is a fork of the one that has the link"
        if isinstance(self._channel, Channel):
            self._channel.abandon()

    def _closed(self, error: TransportError | None) -> None:
        if self.closed is not None:
            return
        self.closed = str(error) if error is not None else "the link has ended"
        self.faulty = error is not None and not isinstance(error, ChannelBroken)
        self.attachments.close()
        self.host.memory.forget(self.attachments)
        for task in list(self._tasks.values()):
            task.cancel()
        withdraw = list(self.serving.values())
        self.serving.clear()
        for cancel in withdraw:
            cancel()
        self.host.link_closed(self, error)

    def stats(self) -> Any:
        """Return the channel's counters."""
        return None if self._channel is None else self._channel.stats()


def _stays_home(_named: Any) -> str:
    return "its __main__ stays on its machine: put it in a module that the other one has, too"


bind(Link)


def _wake(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
