"""Runs one program twice, on real supervisors and on the model, and compares after each step."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, TypeAlias
from unittest import mock

import anyio
import trio.testing
from anyio.abc import TaskGroup

from actors.supervisors import Exit, SupervisorError
from actors.testing import VirtualTimeLoop
from tests.supervisors.model_dynamic import plain_world
from tests.supervisors.plain import Spec
from tests.supervisors.programs import SELF_ENDS, Odd, Step, everyone
from tests.supervisors.real import Real

Picture: TypeAlias = "dict[str, Any]"

INSTANT = 2.0**-20
"""Long enough for all that takes no time; so much passes after each step."""
ENDS = {
    "NORMAL": Exit.NORMAL,
    "SHUTDOWN": Exit.SHUTDOWN,
    "KILLED": Exit.KILLED,
    "CRASHED": Exit.CRASHED(RuntimeError("died")),
    "NODE_DOWN": Exit.NODE_DOWN("node/0: gone"),
}
NOBODY = Spec("nobody")


class Machine:
    """One program, run twice."""

    def __init__(self, tree: Spec, tasks: TaskGroup) -> None:
        self.real, self.plain = Real(tasks), plain_world()
        self.tree = tree
        specs = list(everyone(tree))
        self.sups = [spec for spec in specs if spec.kind]
        self.workers = [spec for spec in specs if not spec.kind]
        self.parents = {c.name: spec for spec in specs for c in spec.children + spec.more}
        self.answers: list[tuple[Step, list[str], list[str]]] = []
        self.odd = Odd()

    async def live(self, steps: list[Step]) -> None:
        """Take all steps, then the end."""
        for step in [("start",), *steps]:
            if step[0] == "root" and self.plain.runs["r"][-1].verdict:
                step = ("start",)  # noqa: PLW2901 - there is nothing to stop any more
            self.take(step)
            await self.settle(step)
        for verb, seconds in (("stop", 60.0), ("kill", 60.0)):
            self.take(("root", 0, verb))
            await self.settle((verb,))
            await self.pass_time(seconds)
        self.check_end()

    def take(self, step: Step) -> None:
        """Do one thing to both."""
        getattr(self, f"do_{step[0]}")(*step[1:])

    async def settle(self, step: Step) -> None:
        """Let time pass and compare."""
        if step[0] == "sleep":
            await self.pass_time(self.odd(step[2]))
        elif step[0] == "window":
            await self.pass_time(step[2])
            self.do_end(step[1], "CRASHED")
            await self.pass_time(INSTANT)
        else:
            await self.pass_time(INSTANT)
        self.compare(step)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for both."""
        self.plain.run(self.plain.now + seconds)
        await anyio.sleep(self.plain.now - anyio.current_time())

    # What happens.

    def do_start(self) -> None:
        if self.plain.runs["r"] and not self.plain.runs["r"][-1].exit:
            return
        self.plain.spawn(self.plain.make[self.tree.kind](self.plain, self.tree).life())
        self.real.tasks.start_soon(self._start, self.real.make(self.tree))

    async def _start(self, root: Any) -> None:
        try:
            await root.start()
        except SupervisorError:
            return

    def do_end(self, number: int, how: str) -> Spec | None:
        """End a worker."""
        alive = [
            spec
            for spec in self.workers
            if self._alive(spec) and not self._opens(self.parents[spec.name])
        ]
        if not alive:
            return None
        chosen: Spec = alive[number % len(alive)]
        self._end(chosen, how)
        return chosen

    def do_ends(self, number: int, how: str) -> None:
        """End two siblings at once, or one, or a child of a dynamic supervisor."""
        first = self.do_end(number // 7, how)
        if first is not None and self.parents[first.name].kind == 1:
            parent = self.parents[first.name]
            siblings = [spec for spec in self.workers if self.parents[spec.name] is parent]
            self._end(siblings[number % len(siblings)], SELF_ENDS[number % 4])

    def _opens(self, spec: Spec) -> bool:
        """Return whether a supervisor starts under another.

        What comes to it now would be done at the very instant when the other one goes on, too, and
        who is first then is the loop's to say and nobody's promise.
        """
        return spec is not self.tree and not self.plain.runs[spec.name][-1].outcome

    def _alive(self, spec: Spec) -> bool:
        return any(run.outcome == "READY" and not run.exit for run in self.plain.runs[spec.name])

    def _end(self, spec: Spec, how: str) -> None:
        if self._alive(spec):
            self.plain.runs[spec.name][-1].end(how)
            self.real.kit.run(spec.name).end(ENDS[how])

    def do_plan(self, number: int, planned: tuple[tuple[str, float], int]) -> None:
        """Plan the next starts of a worker."""
        if self.workers:
            spec = self.workers[number % len(self.workers)]
            (plan, seconds), times = planned
            parent = self.parents[spec.name]
            if plan == "DIES" and parent is not self.tree and parent.kind == 1:
                return
            plans = [(plan, self.odd(seconds))] * times
            self.plain.plans[spec.name], self.real.plans[spec.name] = list(plans), list(plans)

    def do_grow(self, number: int, _: None) -> None:
        """Start a child where there is none."""
        made = [s for s in self.sups if self.plain.runs[s.name] and not self._opens(s)]
        runs = [self.plain.runs[spec.name][-1] for spec in made]
        free = [
            (run.spec, child)
            for run in runs
            for child in run.spec.more
            if not run.verdict and child.name not in run.rows
        ]
        if free:
            self._call("start_child", *free[number % len(free)])

    def do_call(self, number: int, verb: str) -> None:
        """Call a supervisor."""
        made = [s for s in self.sups if self.plain.runs[s.name] and not self._opens(s)]
        pairs = [(spec, child) for spec in made for child in spec.children + spec.more]
        nobody = [] if verb == "start_child" or not made else [(made[number % len(made)], NOBODY)]
        if pairs + nobody:
            self._call(verb, *(pairs + nobody)[number % len(pairs + nobody)])

    def _call(self, verb: str, spec: Spec, what: Spec) -> None:
        said: tuple[list[str], list[str]] = [], []
        self.answers.append(((verb, spec.name, what.name), *said))
        self.plain.runs[spec.name][-1].call(verb, what, said[0])
        arg = self.real.spec(what, spec) if verb == "start_child" else what.name
        self.real.tasks.start_soon(
            self.real.call, verb, self.real.runs[spec.name][-1], arg, said[1]
        )

    def do_host(self, number: int, how: str) -> None:
        """Change what the hosted children of a supervisor stand on."""
        spec = self.sups[number % len(self.sups)]
        if self.plain.hosts[spec.name] in (how, "lost"):
            return
        if self.plain.runs[spec.name] and self._opens(spec):
            return
        self.plain.hosts[spec.name] = how
        host = self.real.hosts[spec.name]
        host.ready, host.lost = how == "up", how == "lost"
        if how != "up":
            for child in spec.children + spec.more:
                if child.hosted:
                    self._end(child, "NODE_DOWN")
        host.change(ready=how == "up", lost=how == "lost")

    def do_rest(self, *_: Any) -> None: ...

    def do_sleep(self, *_: Any) -> None: ...

    def do_window(self, number: int, _: float) -> None:
        """End a worker now, and perhaps again exactly so many seconds later, as `settle` does."""
        self.do_end(number, "CRASHED")

    def do_root(self, _: int, verb: str) -> None:
        """Stop or kill the tree."""
        getattr(self.plain.runs["r"][-1], verb)()
        getattr(self.real.runs["r"][-1], verb)()

    # What is compared.

    def compare(self, step: Step) -> None:
        """Everything that can be seen is the same."""
        expected, found = self.expected(), self.found()
        for what, value in expected.items():
            assert found[what] == value, f"{what}: model {value}, real {found[what]}, after {step}"
        for call, plain, real in self.answers:
            assert real == plain, f"{call}: model {plain}, real {real}, after {step}"

    def expected(self) -> Picture:
        """Picture the model."""
        plain = self.plain
        alive = [spec.name for spec in self.workers if self._alive(spec)]
        pictures = {
            spec.name: None if run.exit else [self._row(row) for row in run.rows.values()][::-1]
            for spec in self.sups
            for run in plain.runs[spec.name][-1:]
        }
        return {
            "runs": {spec.name: len(plain.runs[spec.name]) for spec in everyone(self.tree)},
            "children": pictures,
            "alive": sorted(alive),
            "story": self._by_parent(plain.story),
            "gone": {name: ends for name, ends in plain.gone.items() if ends},
            "ends": {name: ends for name, ends in plain.ends.items() if ends},
        }

    @staticmethod
    def _row(row: Any) -> Step:
        number = row.run and row.run.number
        return (row.spec.name, row.state, row.restarts, row.last, row.due, number)

    def found(self) -> Picture:
        """Picture the real tree."""
        real, kit = self.real, self.real.kit
        counts = {
            s.name: len(real.runs[s.name] if s.kind else kit.runs(s.name))
            for s in everyone(self.tree)
        }
        return {
            "runs": counts,
            "children": {
                spec.name: self._infos(run)
                for spec in self.sups
                for run in real.runs[spec.name][-1:]
            },
            "alive": sorted(kit.alive()),
            "story": self._by_parent([tuple(line.split(" ")) for line in kit.story]),
            "gone": {n: [end.kind.value for end in ends] for n, ends in kit.gone.items() if ends},
            "ends": {name: ends for name, ends in real.ends.items() if ends},
        }

    def _infos(self, sup: Any) -> list[Step] | None:
        try:
            infos, count = sup.children(), sup.count()
        except SupervisorError:
            return None
        assert count.specs == len(infos) == count.supervisors + count.workers
        assert count.active == sum(i.state.value in ("RUNNING", "STOPPING") for i in infos)
        return [
            (
                info.name,
                info.state.value,
                info.restarts,
                info.last_exit.kind.value if info.last_exit else "",
                info.due,
                info.child and self.real.number(info.child),
            )
            for info in infos
        ]

    def _by_parent(self, story: list[Any]) -> dict[str, list[Any]]:
        """Order counts among siblings in an order, and for each child of a dynamic supervisor."""
        told: dict[str, list[Any]] = defaultdict(list)
        for verb, name in story:
            parent = self.parents[name]
            lines = told[name if parent.kind == 2 else parent.name]
            if verb != "kill" or (verb, name) not in lines[-1:]:
                lines.append((verb, name))
        return told

    def check_end(self) -> None:
        """Whoever was started has ended, once, and nobody listens any more."""
        kit = self.real.kit
        told = Counter(kit.story)
        for spec in self.workers:
            assert told[f"started {spec.name}"] == told[f"ended {spec.name}"], spec.name
            assert all(run.exit for run in kit.runs(spec.name) if run.started)
        assert kit.alive() == []
        assert {host.watchers for host in self.real.hosts.values()} <= {0}
        assert all(real == plain != [] for _, plain, real in self.answers)


async def live(tree: Spec, steps: list[Step]) -> None:
    """Run one program; nothing of it is left afterwards."""
    with anyio.fail_after(100_000):
        async with anyio.create_task_group() as tasks:
            machine = Machine(tree, tasks)
            await machine.live(steps)
        story = list(machine.real.kit.story)
        await anyio.sleep(1000)
        assert machine.real.kit.story == story


def run(program: tuple[Spec, list[Step]], backend: str) -> None:
    """Run one program on a loop of its own, in virtual time.

    Where two supervisors act in the same instant the model has one order: who was woken first.
    Trio would toss a coin.
    """
    options: dict[str, Any] = {"loop_factory": VirtualTimeLoop}
    if backend == "trio":
        options = {"clock": trio.testing.MockClock(autojump_threshold=0)}
    trios = trio._core._run
    with (
        mock.patch.object(trios, "_ALLOW_DETERMINISTIC_SCHEDULING", new=False),
        mock.patch.object(trios._r, "random", return_value=0.0),
    ):
        anyio.run(live, *program, backend=backend, backend_options=options)
