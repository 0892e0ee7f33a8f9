"""What a second process runs: `python -m tests.transport.peer_process NAME FD`."""

import ast
import signal
import socket
import sys
from collections.abc import Iterator
from itertools import count as numbers
from typing import Any

import anyio

from actors.transport import Buffer, SegmentMappings, SharedBuffer
from tests.transport.ring_end import RingEnd


def messages(sock: socket.socket) -> Iterator[tuple[Any, list[int]]]:
    while True:
        data, fds, _, _ = socket.recv_fds(sock, 256, 8)
        while data and len(data) < 256:
            data += sock.recv(256 - len(data))
        if not data:
            return
        yield ast.literal_eval(data.decode().strip()), list(fds)


def say(sock: socket.socket, *words: Any) -> None:
    sock.sendall((" ".join(map(str, words)) + "\n").encode())


def borrow(sock: socket.socket) -> None:
    """Opens what it is lent, says what is in it, and keeps it until told to return it."""
    mappings = SegmentMappings()
    kept: list[Any] = []
    for (verb, *fields), fds in messages(sock):
        match verb:
            case "introduce":
                mappings.introduce("owner", fields, fds[0])
            case "open":
                kept.append(mappings.open("owner", fields))
                say(sock, len(kept[-1]), kept[-1][0], kept[-1][-1])
            case "adopt":
                buffer = Buffer.from_lease(mappings, "owner", fields)
                buffer[:4] = b"peer"
                kept.append(buffer)
                say(sock, len(buffer), buffer[4])
            case "return":
                kept.clear()
                say(sock, mappings.take_returned().get("owner", []))
            case "move back":
                say(sock, list(kept.pop().return_to(mappings, "owner")))


def add(sock: socket.socket) -> None:
    """Adds one to cell 0 as often as it is told."""
    for (count,), fds in messages(sock):
        shared = SharedBuffer.from_fds(fds)
        say(sock, "ready")
        sock.recv(1)
        for _ in range(count):
            shared.atomics.add(0, 1)
        say(sock, "done")


def hold(sock: socket.socket) -> None:
    """Takes the lock of cell 0, is half through a change, and stays there."""
    for _, fds in messages(sock):
        shared = SharedBuffer.from_fds(fds)

        def change(before: int) -> int:
            say(sock, "locked", before)
            signal.pause()
            return before + 1

        shared.atomics._change(0, change)


def wait(sock: socket.socket) -> None:
    """Waits for cell 0 to leave 0, says so, and answers in cell 1."""
    for _, fds in messages(sock):
        shared = SharedBuffer.from_fds(fds)

        async def main(atomics: Any = shared.atomics) -> None:
            say(sock, "waiting")
            value = await atomics.wait(0, 0)
            say(sock, value)
            atomics.store(1, value + 1)
            atomics.notify()

        anyio.run(main)


def hello(sock: socket.socket) -> None:
    """Writes `world!` at 6 of what comes and says all it sees."""
    for _, fds in messages(sock):
        shared = SharedBuffer.from_fds(fds)
        shared[6:12] = b"world!"
        say(sock, bytes(shared).decode())


def echo(sock: socket.socket) -> None:
    """Writes every record of a ring to another one, and sleeps meanwhile."""
    ring = RingEnd(sock, *next(messages(sock))[1])
    for number in numbers():
        body = ring.receive(number)
        if not body:
            return
        ring.send(body, number)


if __name__ == "__main__":
    end = socket.socket(fileno=int(sys.argv[2]))
    globals()[sys.argv[1]](end)
