"""`python -m benchmarks._http [--path PATH] COMMAND …`: measures one HTTP server, ours or a peer, with wrk."""

import sys
from typing import Final

from benchmarks._server import server
from benchmarks._wrk import requests_per_second
from benchmarks.ours._figures import figure

WARM_UP: Final = 1
SECONDS: Final = 4


def main(words: list[str]) -> None:
    """Start the server, measure it with kept and with closed connections, and end it."""
    path, command = (words[1], words[2:]) if words[0] == "--path" else ("/", words)
    with server(command) as served:
        for payload, closing in (("keep-alive", False), ("closing", True)):
            requests_per_second(served.port, path, seconds=WARM_UP, closing=closing)
            before = sum(served.cpu())
            rate = requests_per_second(served.port, path, seconds=SECONDS, closing=closing)
            used = sum(served.cpu()) - before
            figure("requests/s", payload, rate)
            figure("CPU us", payload, used / (rate * SECONDS) * 1e6)


if __name__ == "__main__":
    main(sys.argv[1:])
