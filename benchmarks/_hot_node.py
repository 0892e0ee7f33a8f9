"""`python -m benchmarks._hot_node COMMAND …`: latencies of short connections while one node is busy."""

import asyncio
import sys
from typing import Final

from benchmarks._open_loop import percentile, short_connections
from benchmarks._server import server
from benchmarks.ours._figures import figure

RATE: Final = 200
WARM_UP: Final = 1.0
SECONDS: Final = 6.0


async def measure(port: int) -> list[float]:
    """Return the latencies in seconds."""
    await short_connections(port, rate=RATE, seconds=WARM_UP)
    return await short_connections(port, rate=RATE, seconds=SECONDS)


def main(command: list[str]) -> None:
    """Start the server, measure, end it."""
    with server(command) as served:
        took = asyncio.run(measure(served.port))
    for percent in (50, 99):
        figure(f"p{percent} ms", "short connections", 1e3 * percentile(took, percent))


if __name__ == "__main__":
    main(sys.argv[1:])
