"""`send_bytes` and `recv_bytes` of a `multiprocessing.Pipe` between two processes."""

import time
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection

from benchmarks.ours._figures import figure
from benchmarks.ours.big_tells import SIZES, TELLS, WARM_UP


def receive(pipe: Connection) -> None:
    """Add up the sizes of what comes, and send the sum for what is empty."""
    total = 0
    while True:
        got = pipe.recv_bytes()
        total += len(got)
        if not got:
            pipe.send(total)
        if got == b"end":
            return


def main() -> None:
    """Measure each size."""
    ours, theirs = Pipe()
    process = Process(target=receive, args=(theirs,))
    process.start()
    for name, size in SIZES.items():
        payload = bytes(size)
        for _ in range(WARM_UP):
            ours.send_bytes(payload)
        ours.send_bytes(b"")
        before = ours.recv()
        start = time.perf_counter()
        for _ in range(TELLS):
            ours.send_bytes(payload)
        ours.send_bytes(b"")
        total = ours.recv()
        figure("us", name, 1e6 * (time.perf_counter() - start) / TELLS)
        assert total - before == TELLS * size
    ours.send_bytes(b"end")
    process.join()


if __name__ == "__main__":
    main()
