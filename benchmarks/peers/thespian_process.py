"""Tell and ask a Thespian actor: a process of its own, over its TCP base."""

from typing import Any

from thespian.actors import Actor, ActorExitRequest, ActorSystem

from benchmarks.peers._workload import measure

# Its `tell` returns before the message is sent, and many of them are refused.
_TELLS = 1_000
_ASKS = 500


class Counter(Actor):
    """Counts what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802 - its own name
        """Count one more, and say how many there were if that was asked."""
        if isinstance(message, ActorExitRequest):
            return
        self.seen += 1
        asked, _ = message
        if asked:
            self.send(sender, self.seen)


def main() -> None:
    """Measure one actor."""
    system = ActorSystem("multiprocTCPBase")
    try:
        counter = system.createActor(Counter)
        measure(
            lambda payload: system.tell(counter, (False, payload)),
            lambda payload: system.ask(counter, (True, payload)),
            tells=_TELLS,
            asks=_ASKS,
            warm_up=50,
        )
    finally:
        system.shutdown()


if __name__ == "__main__":
    main()
