"""Shared memory between an owner and peers that all live in this process, and a peer that does not."""

import os
import socket
import subprocess
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from actors.transport import Buffer, Lease, SegmentIntroduction, SegmentMappings, SegmentPool

KIB = 1024
MIB = 1024 * KIB
ROOT = Path(__file__).parents[2]


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes that differ with the seed, and from their neighbours."""
    block = bytes((seed * 31 + i * 7) % 251 for i in range(min(size, 4099)))
    return (block * (size // len(block) + 1))[:size]


def mapped() -> int:
    """How many segments this process has mapped."""
    return Path("/proc/self/maps").read_text().count("/memfd:actors")


def shmem() -> int:
    """Bytes of shared memory on this machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * KIB
    raise AssertionError


def behind(pool: SegmentPool) -> int:
    """Bytes of memory the kernel holds for these pool, the page of generations of each included."""
    segments = pool._slots.segments.values()
    return sum(os.fstat(segment.fd).st_blocks * 512 for segment in segments)


class PeerLinks:
    """What links will do between one owner and its peers: introductions, descriptors, returns."""

    def __init__(self, pool: SegmentPool) -> None:
        self.pool = pool
        self.mappings: dict[Hashable, SegmentMappings] = {}

    def at(self, peer: Hashable) -> SegmentMappings:
        return self.mappings.setdefault(peer, SegmentMappings())

    def introduce(self, peer: Hashable, introduction: SegmentIntroduction | None) -> None:
        if introduction is not None:
            self.at(peer).introduce("owner", list(introduction.layout), introduction.fd)

    def lease(self, data: bytes, peer: Hashable, *, cold: bool = True) -> Lease:
        """Lend `data`, introduced but not opened."""
        lease = self.pool.lease(memoryview(data), peer, cold=cold)
        assert lease is not None
        self.introduce(peer, lease.introduction)
        return lease

    def send(self, data: bytes, peer: Hashable = "peer", *, cold: bool = True) -> memoryview:
        """Lend `data` and open it at the other side."""
        lease = self.lease(data, peer, cold=cold)
        return self.at(peer).open("owner", list(lease.descriptor))

    def move(self, buffer: Buffer, peer: Hashable = "peer") -> Buffer:
        lease = buffer.lease_to(self.pool, peer)
        assert lease is not None
        self.introduce(peer, lease.introduction)
        return Buffer.from_lease(self.at(peer), "owner", list(lease.descriptor))

    def settle(self) -> int:
        """Everything that ended goes back; returns how many leases that were."""
        count = 0
        for peer, mappings in self.mappings.items():
            batch = mappings.take_returned().get("owner", [])
            self.pool.release(batch, peer)
            count += len(batch) // 3
        return count

    def close(self) -> None:
        for mappings in self.mappings.values():
            mappings.close()
        self.mappings.clear()


class PeerProcess:
    """Another process that runs a function of `tests.transport.peer_process` over a socket."""

    def __init__(self, program: str) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(20)
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.transport.peer_process",
                    program,
                    str(theirs.fileno()),
                ],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
            )

    def send(self, message: Any, fds: tuple[int, ...] = ()) -> None:
        """A message in its Python notation, and descriptors, which are closed."""
        socket.send_fds(self.sock, [repr(message).encode().ljust(256)], list(fds))
        for fd in fds:
            os.close(fd)

    def hear(self) -> str:
        """The next line it said; empty at its end."""
        line = b""
        while not line.endswith(b"\n"):
            byte = self.sock.recv(1)
            if not byte:
                break
            line += byte
        return line.decode().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def close(self) -> None:
        self.kill()
        self.sock.close()
