"""The six Savina benchmarks on Pykka: a thread for each actor, messages are tuples by reference."""

from __future__ import annotations

import threading
from typing import Any

import pykka

from benchmarks import _savina as savina


class Pong(pykka.ThreadingActor):
    """Sends each ping back."""

    def on_receive(self, message: Any) -> None:
        """Answer."""
        message.tell("pong")


class Ping(pykka.ThreadingActor):
    """Sends the next ping when the last one has come back."""

    def __init__(self, pong: Any, over: threading.Event) -> None:
        super().__init__()
        self._pong = pong
        self._over = over
        self._left = savina.ROUND_TRIPS

    def on_receive(self, message: Any) -> None:  # noqa: ARG002 - there is one kind
        """Send one more, or end."""
        if self._left == 0:
            self._over.set()
            return
        self._left -= 1
        self._pong.tell(self.actor_ref)


def ping_pong() -> None:
    """Two actors, one message under way."""
    over = threading.Event()
    ping = Ping.start(Pong.start(), over)
    watch = savina.Stopwatch()
    ping.tell("pong")
    over.wait()
    watch.report("round trips/s", "ping-pong", savina.ROUND_TRIPS)


class Counter(pykka.ThreadingActor):
    """Counts, and sends the count."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def on_receive(self, message: Any) -> None:
        """Count one more, or send the count."""
        if message is None:
            self._count += 1
        else:
            message.tell(self._count)


class Producer(pykka.ThreadingActor):
    """Sends all that is to be counted, and asks for the count."""

    def __init__(self, counter: Any, over: threading.Event) -> None:
        super().__init__()
        self._counter = counter
        self._over = over

    def on_receive(self, message: Any) -> None:
        """Send it, or check the count and end."""
        if message is None:
            for _ in range(savina.NUMBERS):
                self._counter.tell(None)
            self._counter.tell(self.actor_ref)
        else:
            assert message == savina.NUMBERS
            self._over.set()


def counting() -> None:
    """One actor sends to another as fast as it can."""
    over = threading.Event()
    producer = Producer.start(Counter.start(), over)
    watch = savina.Stopwatch()
    producer.tell(None)
    over.wait()
    watch.report("messages/s", "counting", savina.NUMBERS)


class Latch:
    """Opens when so many have arrived."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self.opened = threading.Event()

    def arrive(self) -> None:
        """Count one."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.opened.set()


class Once(pykka.ThreadingActor):
    """Works once, and stops."""

    def __init__(self, latch: Latch) -> None:
        super().__init__()
        self._latch = latch

    def on_receive(self, message: Any) -> None:  # noqa: ARG002 - there is one kind
        """Compute."""
        savina.compute()
        self._latch.arrive()
        self.stop()


def fork_join_create() -> None:
    """Many actors with one message each."""
    latch = Latch(savina.CREATED)
    watch = savina.Stopwatch()
    for _ in range(savina.CREATED):
        Once.start(latch).tell(None)
    latch.opened.wait()
    watch.report("actors/s", "fork-join, creation", savina.CREATED)


class Worker(pykka.ThreadingActor):
    """Works at each message."""

    def __init__(self, latch: Latch) -> None:
        super().__init__()
        self._latch = latch
        self._left = savina.WORK_EACH

    def on_receive(self, message: Any) -> None:  # noqa: ARG002 - there is one kind
        """Compute."""
        savina.compute()
        self._left -= 1
        if self._left == 0:
            self._latch.arrive()


def fork_join() -> None:
    """Some actors with many messages each, sent in turn."""
    latch = Latch(savina.WORKERS)
    workers = [Worker.start(latch) for _ in range(savina.WORKERS)]
    watch = savina.Stopwatch()
    for _ in range(savina.WORK_EACH):
        for worker in workers:
            worker.tell(None)
    latch.opened.wait()
    watch.report("messages/s", "fork-join, throughput", savina.WORKERS * savina.WORK_EACH)


class Neighbour(pykka.ThreadingActor):
    """Sends a ping to a neighbour by chance when its last one has come back, and answers those of others."""

    def __init__(self, number: int, latch: Latch) -> None:
        super().__init__()
        self._number = number
        self._latch = latch
        self._left = savina.PINGS
        self._all: list[Any] = []

    def on_receive(self, message: Any) -> None:
        """Know all neighbours, answer a ping, or send the next one."""
        match message:
            case list():
                self._all = message
            case int():
                self._all[message].tell("pong")
            case _ if self._left == 0:
                self._latch.arrive()
            case _:
                self._left -= 1
                self._all[savina.other_than(self._number)].tell(self._number)


def big() -> None:
    """Many actors that all send to each other."""
    latch = Latch(savina.NEIGHBOURS)
    everybody = [Neighbour.start(number, latch) for number in range(savina.NEIGHBOURS)]
    for one in everybody:
        one.ask(everybody)
    watch = savina.Stopwatch()
    for one in everybody:
        one.tell("pong")
    latch.opened.wait()
    watch.report("round trips/s", "big", savina.NEIGHBOURS * savina.PINGS)


class Mall(pykka.ThreadingActor):
    """Where chameneos meet, two by two, and so many times."""

    def __init__(self, over: threading.Event) -> None:
        super().__init__()
        self._over = over
        self._left = savina.MEETINGS
        self._waiting: Any = None
        self._faded = 0
        self._met = 0

    def on_receive(self, message: Any) -> None:
        """Send who comes to whom waits, or count how often one has met another."""
        match message:
            case int():
                self._faded += 1
                self._met += message
                if self._faded == savina.CHAMENEOS:
                    assert self._met == 2 * savina.MEETINGS
                    self._over.set()
            case _, sender if self._left == 0:
                sender.tell(("fade",))
            case _, sender if self._waiting is None:
                self._waiting = sender
            case colour, sender:
                waiting, self._waiting = self._waiting, None
                self._left -= 1
                waiting.tell(("meet", colour, sender))


class Chameneo(pykka.ThreadingActor):
    """Goes to the mall, and changes its colour when it meets another."""

    def __init__(self, mall: Any, colour: str) -> None:
        super().__init__()
        self._mall = mall
        self._colour = colour
        self._met = 0

    def on_receive(self, message: Any) -> None:
        """Go to the mall; take the colour of both and tell the other one; take a colour; or say how often."""
        match message:
            case ("go",):
                self._go()
            case "meet", colour, other:
                self._colour = savina.complement(self._colour, colour)
                self._met += 1
                other.tell(("change", self._colour))
                self._go()
            case "change", colour:
                self._colour = colour
                self._met += 1
                self._go()
            case _:
                self._mall.tell(self._met)

    def _go(self) -> None:
        self._mall.tell((self._colour, self.actor_ref))


def chameneos() -> None:
    """Many actors that all send to one, which sends some of them to others."""
    over = threading.Event()
    mall = Mall.start(over)
    colours = savina.COLOURS
    everybody = [
        Chameneo.start(mall, colours[number % len(colours)]) for number in range(savina.CHAMENEOS)
    ]
    watch = savina.Stopwatch()
    for one in everybody:
        one.tell(("go",))
    over.wait()
    watch.report("meetings/s", "chameneos", savina.MEETINGS)


class Arbitrator(pykka.ThreadingActor):
    """Has the forks."""

    def __init__(self, over: threading.Event) -> None:
        super().__init__()
        self._over = over
        self._forks = savina.Forks()
        self._left = savina.PHILOSOPHERS

    def on_receive(self, message: Any) -> None:
        """Give both forks or neither, take both back, or end with the last one that leaves."""
        match message:
            case "hungry", number, sender:
                sender.tell("eat" if self._forks.take(number) else "denied")
            case "done", number:
                self._forks.put_back(number)
            case _:
                self._left -= 1
                if self._left == 0:
                    self._over.set()


class Philosopher(pykka.ThreadingActor):
    """Asks for the forks until it gets them, eats, and gives them back."""

    def __init__(self, number: int, arbitrator: Any) -> None:
        super().__init__()
        self._number = number
        self._arbitrator = arbitrator
        self._left = savina.MEALS

    def on_receive(self, message: Any) -> None:
        """Ask for them again; or eat, and be hungry again or leave."""
        if message == "eat":
            self._left -= 1
            self._arbitrator.tell(("done", self._number))
        if self._left:
            self._arbitrator.tell(("hungry", self._number, self.actor_ref))
        else:
            self._arbitrator.tell(("leave",))


def philosophers() -> None:
    """Many actors that ask one, which refuses most of them."""
    over = threading.Event()
    arbitrator = Arbitrator.start(over)
    everybody = [Philosopher.start(number, arbitrator) for number in range(savina.PHILOSOPHERS)]
    watch = savina.Stopwatch()
    for one in everybody:
        one.tell("denied")
    over.wait()
    watch.report("meals/s", "philosophers", savina.PHILOSOPHERS * savina.MEALS)


def main() -> None:
    """Run all."""
    for run in (ping_pong, counting, fork_join_create, fork_join, big, chameneos, philosophers):
        try:
            run()
        finally:
            pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    main()
