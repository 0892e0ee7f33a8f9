"""Nodes that compute, for the tests of profiles."""

import signal

from actors import Actor, Topology, child, nodes


def turn_the_crank(times: int) -> int:
    total = 0
    for number in range(times):
        total += number
    return total


class Miller(Actor):
    """Grinds a little, again and again."""

    async def on_start(self) -> None:
        self.context.timers.every(0.002, Miller.grind)

    async def grind(self) -> None:
        turn_the_crank(20_000)


class Spinner(Actor):
    """Never gives its loop back."""

    async def on_start(self) -> None:
        self.context.timers.once(0.1, Spinner.spin)

    async def spin(self) -> None:
        while True:
            turn_the_crank(1000)


class Rival(Actor):
    """Has a profiler of its own."""

    async def on_start(self) -> None:
        signal.signal(signal.SIGPROF, lambda _number, _frame: None)


topology = Topology(
    nodes=[
        nodes("mill"),
        nodes("idle"),
        nodes("spin", hang_after=None, shutdown=0.1),
        nodes("rival"),
        nodes("thread", kind="thread"),
    ],
    children=[
        child(Miller, name="miller", on="mill/0"),
        child(Miller, name="threaded", on="thread/0"),
        child(Spinner, name="spinner", on="spin/0", shutdown=0.1),
        child(Rival, name="rival", on="rival/0"),
    ],
)
