"""The whole table of hook, way to fail and moment: every cell ends as the laws say, and says so.

What holds in each cell: others on the node are answered meanwhile; every ask ends; the actor comes
back, or its name is free and each watcher was told once; the error reached somebody; no task of it
is left. A constructor cannot wait, so it hangs only by blocking its node: that is the node's matter.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import pytest
import sniffio

from actors import Backoff, Exit, Ref, Restart, dynamic
from actors._system.supervisor_handle import SupervisorHandle
from actors.errors import ActorsError
from actors.testing import eventually
from tests.conformance.case_actors import Plain
from tests.conformance.failing_actors import Bystander, Failing
from tests.conformance.scenario import Scenario

GRACE = 0.1
LONG = 30.0
_NUMBERS = itertools.count(1)
"""No cell meets the name of another."""


class Cell(NamedTuple):
    """One row: where it fails and how, what brings it there, what follows, and who is told."""

    moment: str
    site: str
    how: str
    outcome: str
    told: str

    def __str__(self) -> str:
        return f"{self.moment}-{self.site}-{self.how}"


ERRORS = ("raise", "cancel", "odd")
RUNNING = ("on_exit", "timer", "task", "handler", "concurrent")
ENDING = ("on_stop", "task's end", "generator's end")
STARTING = ("constructor", "on_start")
WAITING = ("on_exit", "timer", "handler", "generator")
"""Where a hang holds up the mailbox, and so a stop behind it."""
BESIDE = ("task", "concurrent")


def _cells(moment: str, sites: Any, hows: Any, outcome: str, told: str) -> list[Cell]:
    # A task's end is reached by a cancellation: one more that it raises is that one.
    pairs = itertools.product(sites, hows)
    return [
        Cell(moment, site, how, outcome, told)
        for site, how in pairs
        if (site, how) != ("task's end", "cancel")
    ]


TABLE = [
    # While it runs: what nobody awaits is a crash.
    *_cells("running", RUNNING, ERRORS, "back 2", "child_ended"),
    *_cells("running", ["generator"], ["cancel", "odd"], "back 2", "child_ended"),
    *_cells("running", ["generator"], ["raise"], "lives", "reader"),
    # During a restart: the end of the old incarnation, the start of the new one.
    *_cells("restart", ENDING, ERRORS, "back 2", "log"),
    *_cells("restart", ENDING, ["hang"], "back 2", "first"),
    *_cells("restart", STARTING, ERRORS, "back 3", "child_start_failed"),
    # A stop by the supervisor: politely, then by force.
    *_cells("stop", ENDING, ERRORS, "CRASHED", "child_ended"),
    *_cells("stop", [*WAITING, *ENDING], ["hang"], "KILLED", "shutdown_overrun"),
    *_cells("stop", BESIDE, ["hang"], "SHUTDOWN", ""),
    # By the actor itself, which is for good.
    *_cells("finish", ENDING, ERRORS, "CRASHED", "child_ended"),
    # A kill: the policy decides what follows.
    *_cells("kill", [*WAITING, *BESIDE], ["hang"], "KILLED", "child_ended"),
    *_cells("kill", ENDING[1:], ERRORS, "KILLED", "log"),
    *_cells("kill", ENDING[1:], ["hang"], "KILLED", "child_ended"),
    *_cells("kill and restart", [*WAITING, *BESIDE], ["hang"], "back 2", "child_ended"),
    *_cells("kill and restart", ["on_start"], ["hang"], "back 3", "child_start_failed"),
]


class Scene:
    """One actor that fails, one on its node that looks on, and all that waits for the first."""

    def __init__(self, scenario: Scenario, cell: Cell, branch: SupervisorHandle) -> None:
        self.scenario = scenario
        self.cell = cell
        self.branch = branch
        self.name = f"failing {next(_NUMBERS)}"
        self.answers: list[str] = []
        self.read: list[str] = []
        self.end_reading = anyio.Event()
        self.ref: Ref[Any]
        self.bystander: Ref[Bystander]

    async def open(self) -> None:
        cell, scenario = self.cell, self.scenario
        self.bystander = await scenario.spawn(Bystander)
        gone = await scenario.spawn(Plain)
        await gone.stop()
        await gone.wait()
        self.gone = gone
        at = (2,) if cell.site in STARTING else (1,)
        final = cell.moment == "kill"
        spec = scenario.child(
            self.name,
            Failing,
            cell.site,
            cell.how,
            at,
            shutdown=LONG if cell.outcome in {"SHUTDOWN", "CRASHED"} else GRACE,
            restart=Restart.TEMPORARY if final else Restart.PERMANENT,
            backoff=Backoff(first=0),
        )
        ref = await self.branch.start_child(spec)
        assert ref is not None
        self.ref = ref
        await self.bystander.ask(Bystander.watch, ref)

    @property
    def remains(self) -> bool:
        return self.cell.outcome.startswith(("back", "lives"))

    async def ask(self) -> None:
        try:
            self.answers.append(f"incarnation {await self.ref.ask(Failing.incarnation)}")
        except ActorsError as error:
            self.answers.append(type(error).__name__)

    async def go_there(self, tasks: Any) -> None:
        """Bring the actor to the site, and wait for it where it hangs there."""
        site, hangs = self.cell.site, self.cell.how == "hang"
        if site.startswith("generator"):
            tasks.start_soon(self.read_stream)
            if site != "generator":
                await self.scenario.heard(("open", self.name))
        elif site == "concurrent":
            await self.ref.tell(Failing.beside)
        elif site in ENDING:
            await self.ref.ask(Failing.provoke, self.gone)
        elif site in RUNNING:
            await self.ref.tell(Failing.provoke, self.gone)
        if hangs and (site in RUNNING or site == "generator"):
            await self.scenario.heard(("hangs", self.name))

    async def read_stream(self) -> None:
        try:
            async with self.ref.stream(Failing.items) as items:
                await anext(items)
                if self.cell.site != "generator":
                    await self.end_reading.wait()
                async for _ in items:
                    pass
            self.read.append("end")
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.read.append(f"{type(error).__name__}: {error}")

    async def act(self) -> None:
        """Do what the moment is called after."""
        match self.cell.moment:
            case "restart":
                await self.ref.tell(Failing.crash)
            case "stop":
                await self.branch.stop_child(self.name)
            case "finish":
                await self.ref.tell(Failing.finish)
            case "kill":
                self.ref.kill()
            case "kill and restart" if self.cell.site == "on_start":
                await self.ref.tell(Failing.crash)
                await self.scenario.heard(("hangs", self.name))
                self.ref.kill()
            case "kill and restart":
                self.ref.kill()

    async def others_are_answered(self) -> None:
        assert isinstance(await self.bystander.ask(Bystander.ends, self.name), list)

    async def told(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Somebody was told of the error, with its text or its place."""
        cell, scenario = self.cell, self.scenario
        word = {"raise": "LookupError", "cancel": "CancelledError", "odd": "Odd"}.get(cell.how, "")
        text = f"{word}: {cell.site}" if word else ""
        match cell.told:
            case "child_ended":
                event = await scenario.until("child_ended", child=self.name)
                assert (text or "KILLED") in event.facts["exit"]
            case "first":
                event = await scenario.until("child_ended", child=self.name)
                assert "RuntimeError: first" in event.facts["exit"]
            case "child_start_failed":
                event = await scenario.until("child_start_failed", child=self.name)
                assert (text or "killed") in event.facts["error"]
            case "shutdown_overrun":
                await scenario.until("shutdown_overrun", child=self.name)
            case "reader":
                await eventually(lambda: self.read, 10)
                assert self.read == [text]
            case "log":
                lines: list[str] = []

                def logged() -> bool:
                    lines.append(capfd.readouterr().err)
                    return text in "".join(lines)

                await eventually(logged, 10)

    async def ends(self) -> None:
        """It has ended: its place is free, and whoever watched was told once."""
        assert (await self.ref.wait()).kind.value == self.cell.outcome
        assert await self.scenario.gone(self.name)
        await self._nothing_is_left(self.cell.outcome)

    async def is_back(self) -> None:
        """It serves again; nobody was told that it ended, until it does."""
        number = int(self.cell.outcome.partition(" ")[2] or 1)
        assert await self.ref.ask(Failing.incarnation) == number
        assert await self.bystander.ask(Bystander.ends, self.name) == []
        await eventually(self._one_task, 10)
        self.end_reading.set()
        await self.branch.stop_child(self.name)
        assert await self.ref.wait() == Exit.SHUTDOWN
        await self._nothing_is_left("SHUTDOWN")

    async def _one_task(self) -> bool:
        return len(await self.bystander.ask(Bystander.tasks, self.name)) == 1

    async def _nothing_is_left(self, kind: str) -> None:
        bystander = self.bystander

        async def heard() -> list[str]:
            return await bystander.ask(Bystander.ends, self.name)

        async def no_task() -> bool:
            return await bystander.ask(Bystander.tasks, self.name) == []

        async def no_cell() -> bool:
            return self.name not in await bystander.ask(Bystander.cells)

        (end,) = await eventually(heard, 10)
        assert end.startswith(kind)
        await eventually(no_task, 10)
        await eventually(no_cell, 10)
        assert len(await heard()) == 1


@asynccontextmanager
async def _scene(scenario: Scenario, cell: Cell) -> AsyncIterator[Scene]:
    branch = await scenario.tree(dynamic(f"sup {next(_NUMBERS)}", restart=Restart.TEMPORARY))
    scene = Scene(scenario, cell, branch)
    await scene.open()
    yield scene
    scene.end_reading.set()


def _on_trio(scenario: Scenario) -> bool:
    return scenario.local and sniffio.current_async_library() == "trio"


@pytest.mark.parametrize("cell", TABLE, ids=str)
async def test_a_failing_hook(
    scenario: Scenario, cell: Cell, capfd: pytest.CaptureFixture[str]
) -> None:
    if (cell.moment, cell.site, cell.how) == ("stop", "task's end", "hang") and _on_trio(scenario):
        return  # on trio nothing that has been cancelled can wait
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, _scene(scenario, cell) as scene:
            await scene.go_there(tasks)
            tasks.start_soon(scene.act)
            tasks.start_soon(scene.ask)
            tasks.start_soon(scene.ask)
            await scene.others_are_answered()
            await scene.told(capfd)
            await (scene.is_back() if scene.remains else scene.ends())
        assert len(scene.answers) == 2
        if scene.remains:
            assert all(answer.startswith("incarnation") for answer in scene.answers)
        if cell.site.startswith("generator"):
            assert len(scene.read) == 1
