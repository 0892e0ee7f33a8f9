"""A system whose parent runs code of the user in threads and interpreters; it says all that it can say."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import threading
import warnings

import anyio

import actors

_LIBC = ctypes.CDLL(None)
INNER = sys.version_info >= (3, 14)
"""Whether this Python has interpreter nodes."""

_LIBC.puts(b"from C at import")
_LIBC.fflush(None)
print("printed at import")  # noqa: T201 - as a program does


class Clerk(actors.Actor):
    """Says something in every way that there is, and crashes once."""

    async def on_start(self) -> None:
        await self.context.ref.tell(Clerk.say)

    async def say(self) -> None:
        node = self.context.node
        print("printed")  # noqa: T201 - as a program does
        print("to stderr", file=sys.stderr)  # noqa: T201 - as a program does
        logging.getLogger("shop").error("no ink", extra={"job": 4})
        warnings.warn(f"old ink of {node}", stacklevel=1)
        self.context.log.warning("by the actor", ink=2)
        thread = threading.Thread(target=dict[str, str]().pop, args=("ink",), name="loader")
        thread.start()
        thread.join()
        _LIBC.puts(f"from C of {node}".encode())
        _LIBC.fflush(None)
        os.write(2, f"ERROR: by its number, {node}\n".encode())
        print(f"to what it was, {node}", file=sys.__stderr__, flush=True)
        if "inner" not in node:  # where no process may be started
            subprocess.run(["sh", "-c", f"echo from a shell of {node}"], check=False)  # noqa: ASYNC221, S607 - as above
        print("x" * 100_000)  # noqa: T201 - as a program does
        if self.context.incarnation == 1:
            raise ValueError("two\nlines")
        print(f"said by {node}")  # noqa: T201 - as a program does
        print("half", end="", flush=True)  # noqa: T201 - as a program does
        if node == "thread/0":
            await anyio.sleep(0.5)  # so that nobody else goes on with the line
            os.write(1, b"without a newline")


FOURTH = (
    actors.nodes("inner", kind="interpreter") if INNER else actors.nodes("other", kind="thread")
)
NODES = ("process/0", "thread/0", "second/0", f"{FOURTH.name}/0")

topology = actors.Topology(
    budget=actors.Budget(restarts=10, within=5),
    nodes=[
        actors.nodes("process"),
        actors.nodes("thread", kind="thread", block_after=None),
        actors.nodes("second", kind="thread", block_after=None),
        FOURTH,
    ],
    children=[
        actors.child(Clerk, name=f"clerk-{node.replace('/', '-')}", on=node, shutdown=0.5)
        for node in NODES
    ],
)
