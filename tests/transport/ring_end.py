"""One end of a ring each way between two processes, which block where a channel's loop would turn."""

import os
import socket

from actors.transport import FrameError
from actors.transport.channels.ring_extension import RING


class RingEnd:
    """Sends and receives records; whoever finds nothing for a moment sleeps until a byte comes over the socket.

    Args:
        sock: to wake the other end.
        inbound: the descriptor of the ring that this end reads, which is closed here.
        outbound: that of the ring that it writes.
    """

    def __init__(self, sock: socket.socket, inbound: int, outbound: int) -> None:
        self._sock = sock
        self._reader = RING.Reader(inbound, FrameError)
        self._writer = RING.Writer(outbound, FrameError)
        os.close(inbound)
        os.close(outbound)
        self.sleeps = 0

    def send(self, body: bytes, number: int) -> None:
        while (done := self._writer.put(1, body, number)) == RING.WAKE_IT:
            self._writer.mark(number)
            self._sock.send(b"!")
        if done == RING.BELL:
            self._writer.mark(number + 1)
            self._sock.send(b"!")

    def receive(self, number: int) -> bytes:
        while True:
            record = self._reader.take(number)
            if record is None:
                self._wait()
            elif record[0] == RING.MARK:
                assert self._sock.recv(1) == b"!"
            else:
                return bytes(record[2])

    def _wait(self) -> None:
        if self._reader.look(0) != RING.FOUND and self._reader.sleep(RING.ASLEEP):
            self.sleeps += 1
            assert self._sock.recv(1, socket.MSG_PEEK) == b"!"
