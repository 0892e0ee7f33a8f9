"""Asyncio streams over TLS between two processes: bytes go there and come back, as many as our asks have."""

import asyncio
import socket
import sys
import time
from multiprocessing import Process
from typing import Final

import uvloop

from actors.machines.authority import Authority, Material
from benchmarks.ours._figures import figure
from benchmarks.ours._workload import ASKS, TELLS, WARM_UP

SIZES: Final = {"int": 25, "dict": 150, "object": 57}
"""The frames of asks with the payloads of `ours/_workload.py`; the replies of ours are smaller."""
_MOST: Final = 64 * 1024
_REPLY: Final = 16
"""The frame of a reply."""


def serve(listener: socket.socket, material: Material) -> None:
    """Answer what comes over one connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for size in SIZES.values():
                for bytes_before_reply in [size] * WARM_UP + [TELLS * size] + [size] * ASKS:
                    left = bytes_before_reply
                    while left:
                        left -= len(await reader.read(min(left, _MOST)))
                    writer.write(bytes(_REPLY))
            await reader.read()
        finally:
            writer.close()
            done.set()

    async def run() -> None:
        await asyncio.start_server(answer, sock=listener, ssl=material.context(server=True))
        await done.wait()

    done = asyncio.Event()
    uvloop.run(run())


async def ask(address: tuple[str, int], material: Material) -> None:
    """Time what goes there and comes back."""
    reader, writer = await asyncio.open_connection(
        *address, ssl=material.context(server=False), server_hostname=material.server
    )
    for name, size in SIZES.items():
        question = bytes(size)
        for _ in range(WARM_UP):
            writer.write(question)
            await reader.readexactly(_REPLY)
        start = time.perf_counter()
        for _ in range(TELLS):
            writer.write(question)
            await writer.drain()
        await reader.readexactly(_REPLY)
        figure("tell/s", name, TELLS / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(ASKS):
            writer.write(question)
            await reader.readexactly(_REPLY)
        figure("ask us", name, 1e6 * (time.perf_counter() - start) / ASKS)
    writer.close()


def main() -> None:
    """Measure each size."""
    material = Authority.new().issue("echo")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = Process(target=serve, args=(listener, material))
        process.start()
        uvloop.run(ask(listener.getsockname(), material))
    process.join()
    sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
