"""A listener on some nodes: `python -m benchmarks.ours.router HANDLER POLICY NODES PORT`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import ByteStream

import actors
from actors.policies import Policy, Snapshot
from actors.routing import policy_from

_END: Final = b"\r\n\r\n"
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_OK_CLOSE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def handle(stream: ByteStream) -> None:
    """Answer "ok" over HTTP until the client closes, or once if it asks to close."""
    while True:
        head = await stream.receive()
        while not head.endswith(_END):
            head += await stream.receive()
        if b"\r\nConnection: close\r\n" in head:
            await stream.send(_OK_CLOSE)
            return
        await stream.send(_OK)


def command(name: str, policy: str, *, nodes: int) -> list[str]:
    """Return the command that starts this program; `{port}` in it is to be replaced by a port."""
    return [sys.executable, "-m", "benchmarks.ours.router", name, policy, str(nodes), "{port}"]


def handler(name: str) -> Any:
    """Return the handler of that name."""
    if name.endswith("asgi"):
        return actors.asgi(f"benchmarks.ours.{name}_app:app")
    return f"benchmarks.ours.router:{name}"


@dataclass(frozen=True)
class Own:
    """A policy of the user's, so that the parent hands connections over; it chooses as the default does."""

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        """Choose the node with the fewest connections."""
        return actors.LeastConnections().choose(nodes, key)


def _policy(text: str) -> Policy:
    return Own() if text == "own" else policy_from(text)


async def main(name: str, policy: str, count: str, port: str) -> None:
    """Serve until the process is ended."""
    topology = actors.Topology(
        nodes=[actors.nodes("web", count=int(count))],
        listeners=[actors.listen(handler(name), f"127.0.0.1:{port}", policy=_policy(policy))],
    )
    async with actors.System(topology):
        await anyio.sleep_forever()


if __name__ == "__main__":
    actors.run(partial(main, *sys.argv[1:]))
