"""Tell and ask a Pykka actor: a thread of its own, payloads by reference."""

from typing import Any

import pykka

from benchmarks.peers._workload import measure


class Counter(pykka.ThreadingActor):
    """Counts what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def on_receive(self, message: Any) -> int:  # noqa: ARG002 - to arrive is all a payload does here
        """Count one more and return how many there were."""
        self.seen += 1
        return self.seen


def main() -> None:
    """Measure one actor."""
    counter = Counter.start()
    try:
        measure(counter.tell, counter.ask)
    finally:
        pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    main()
