"""Two ends of a link without a socket: attachments goes from one to the other as the link would take it."""

import gc
import os
from typing import Any

from actors.transport import Attachments, Decoder, Encoder, Lane, SegmentMappings, SegmentPool


class AttachmentLink:
    """What is shipped at `here` arrives at `there`."""

    def __init__(self) -> None:
        self.pool = SegmentPool()
        self.here = Attachments(self.pool, SegmentMappings())
        self.mappings = SegmentMappings()
        self.there = Attachments(SegmentPool(), self.mappings)
        self.here.open = self.there.open = True
        self.encoder = Encoder(attachments=self.here)
        self.decoder = Decoder(attachments=self.there)

    def warm(self, size: int, count: int = 1) -> None:
        """Have memory for payloads of this size."""
        for _ in range(count):
            lease = self.pool.lease(memoryview(bytes(size)), "warmer", cold=True)
            if lease is not None and lease.introduction is not None:
                os.close(lease.introduction.fd)
        self.pool.reclaim("warmer")

    def pack(self, value: Any) -> bytes:
        """The frame of one message; its attachments and introductions have gone ahead."""
        packed = self.encoder.encode_value(value)
        for op, numbers, fds in self.here.transaction.prerequisites:
            self.there.receive_prerequisite(op, numbers, fds)
        self.here.transaction.prerequisites.clear()
        self.here.transaction.commit()
        self.encoder.pack([1, packed])
        for body in self.encoder.take(Lane.CONTROL):
            self.decoder.feed(body)
        big = [body for _, body in self.encoder.batches.take_big()]
        return b"".join([*self.encoder.take(Lane.DATA), *big])

    def ship(self, value: Any) -> Any:
        """Send it and return what arrives."""
        (message,) = self.decoder.feed(self.pack(value))
        return message[1]

    def settle(self) -> None:
        """What the other side needs no more goes back."""
        for batch in self.mappings.take_returned().values():
            self.here.release(batch)

    def close(self) -> None:
        self.settle()
        self.here.close()
        self.there.close()
        self.here.reclaim()
        self.pool.close()
        # Encoders and decoders are cycles, and a fixture is remembered beyond its end.
        self.__dict__.clear()
        gc.collect()


def pipe_end() -> int:
    """A descriptor that is neither memory nor a socket."""
    ours, theirs = os.pipe()
    os.close(theirs)
    return ours
