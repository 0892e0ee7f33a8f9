"""`python -m benchmarks._http COMMAND …`: measures one HTTP server, ours or a peer's, with wrk."""

import sys
from typing import Final

from benchmarks._server import server
from benchmarks._wrk import requests_per_second
from benchmarks.ours._figures import figure

WARM_UP: Final = 1
SECONDS: Final = 4


def main(command: list[str]) -> None:
    """Start the server, measure it with kept and with closed connections, and end it."""
    with server(command) as served:
        for payload, closing in (("keep-alive", False), ("closing", True)):
            requests_per_second(served.port, seconds=WARM_UP, closing=closing)
            rate = requests_per_second(served.port, seconds=SECONDS, closing=closing)
            figure("requests/s", payload, rate)


if __name__ == "__main__":
    main(sys.argv[1:])
