"""A channel with a notebook: what came out of it, in order."""

import socket
from collections.abc import Callable
from typing import Any

from actors.transport import Channel, Decoder, Encoder, Lane, Limits, TransportError, encode_header
from actors.transport.channels.tls_session import TlsSession


class RecordingChannel:
    """A channel and what came out of it."""

    def __init__(
        self, loop: Any, sock: socket.socket | TlsSession, limits: Limits | None = None
    ) -> None:
        self.got: list[Any] = []
        self.batches: list[tuple[int, Lane]] = []
        self.fds: list[tuple[Any, list[int]]] = []
        self.ends: list[TransportError | None] = []
        self.rooms = 0
        size = limits.message if limits else 64 << 20
        kind: Any = getattr(sock, "channel_type", Channel)
        self.channel: Channel = kind(
            sock,
            loop,
            encoder=Encoder(limit=size),
            decoder=Decoder(limit=size),
            receive=self.receive,
            receive_fds=lambda message, fds: self.fds.append((message, fds)),
            closed=self.ends.append,
            on_room=self.room,
            limits=limits,
        )

    def receive(self, messages: list[Any], lane: Lane) -> None:
        assert not self.ends
        self.batches.append((len(messages), lane))
        self.got += messages

    def room(self) -> None:
        self.rooms += 1

    def tell(self, *values: Any, lane: Lane = Lane.DATA) -> int:
        args, _ = self.channel.encoder.encode_args(values, {})
        return self.channel.send([1, args], lane)


Two = Callable[..., tuple[RecordingChannel, RecordingChannel]]


def frame(body: bytes, fds: int = 0, lane: Lane = Lane.DATA) -> bytes:
    return encode_header(lane, fds, len(body)) + body
