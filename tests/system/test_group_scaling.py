"""A group of nodes that scales itself, and what a group gives its nodes: CPUs, limits, users, hooks."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import actors
from actors import Actor, System, Topology, nodes
from actors._base.events import Event
from actors._system import group_scaling, scaling_rule
from actors._system.memory_left import memory_left
from actors.errors import BootFailed, InvalidSpec
from actors.testing import eventually
from tests.system import scaling_hooks

pytestmark = pytest.mark.within(30)

HOOKS = "tests.system.scaling_hooks"


class Facts(Actor):
    """Says what its process has."""

    async def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    async def cpus(self) -> set[int]:
        return os.sched_getaffinity(0)

    async def limits(self) -> tuple[int, int]:
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    async def compute(self, until: str) -> None:
        while not os.path.exists(until):  # noqa: ASYNC240, PTH110 - it keeps its loop busy
            ends = time.perf_counter() + 0.005
            while time.perf_counter() < ends:
                pass
            await anyio.lowlevel.checkpoint()


async def next_of(events: AsyncIterator[Event], kind: str) -> Event:
    async for event in events:
        if event.kind == kind:
            return event
    raise AssertionError(kind)


def started(system: System) -> list[actors.Node]:
    return [node for node in system.nodes if node.name != "local"]


async def ask_each(system: System, message: Any, *args: Any) -> list[Any]:
    found = []
    for node in started(system):
        ref = await system.spawn(Facts, on=node)
        found.append(await ref.ask(message, *args))
    return found


# -- a range ---------------------------------------------------------------------------------


async def test_a_busy_group_gets_a_node_more_and_loses_it_when_it_rests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(group_scaling, "EVERY", 0.05)
    monkeypatch.setattr(group_scaling, "usable_cpus", lambda: 2)
    monkeypatch.setattr(scaling_rule, "GROW_AFTER", 0.2)
    monkeypatch.setattr(scaling_rule, "SHRINK_AFTER", 0.3)
    group = nodes("web", min=1, max=3, kind="thread")
    async with System(Topology(nodes=[group])) as system:
        events = system.events()
        busy = await system.spawn(Facts, on="web/0")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(busy.ask, Facts.compute, str(tmp_path / "enough"))
            grown = await next_of(events, "group_scaled")
            assert (grown.facts["before"], grown.facts["nodes"]) == (1, 2)
            more = await system.spawn(Facts, on="web/1")
            tasks.start_soon(more.ask, Facts.compute, str(tmp_path / "enough"))
            # There are no more CPUs, though `max` is 3.
            await next_of(events, "scaling_limited")
            assert len(started(system)) == 2
            (tmp_path / "enough").touch()
        shrunk = await next_of(events, "group_scaled")
        assert (shrunk.facts["before"], shrunk.facts["nodes"]) == (2, 1)
        assert [node.name for node in started(system)] == ["web/0"]


async def test_a_node_that_cannot_start_is_an_event_and_the_group_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(group_scaling, "EVERY", 0.05)
    monkeypatch.setattr(group_scaling, "usable_cpus", lambda: 8)
    monkeypatch.setattr(scaling_rule, "GROW_AFTER", 0.2)
    monkeypatch.setattr(scaling_hooks, "STARTED", [])
    group = nodes("web", min=1, max=2, kind="thread", on_ready=f"{HOOKS}:only_the_first")
    async with System(Topology(nodes=[group])) as system:
        events = system.events()
        busy = await system.spawn(Facts, on="web/0")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(busy.ask, Facts.compute, str(tmp_path / "enough"))
            failed = await next_of(events, "scaling_failed")
            assert "there is one already" in failed.facts["error"]
            (tmp_path / "enough").touch()
        # It may just be trying once more.
        await eventually(lambda: [node.name for node in started(system)] == ["web/0"])


async def test_a_group_is_scaled_by_hand_within_its_range_only() -> None:
    async with System(Topology(nodes=[nodes("web", min=1, max=2, kind="thread")])) as system:
        assert len(await system.scale("web", 2)) == 2
        for count in (0, 3):
            with pytest.raises(
                InvalidSpec, match=f"'web' scales itself from 1 to 2 nodes; got {count}"
            ):
                await system.scale("web", count)


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"min": 2}, "min=2 needs max"),
        ({"min": 0, "max": 2}, "min must be 1 to 1024, got 0"),
        ({"min": 3, "max": 2}, "max must be a whole number from min=3 to 1024, got 2"),
        ({"max": 2.5}, "max must be a whole number from min=1 to 1024, got 2.5"),
        ({"count": 5, "max": 4, "min": 1}, "count=5 is more than max=4"),
        ({"cpus": "all"}, "cpus must be 'each' or None, got 'all'"),
        ({"cpus": ["each"]}, "cpus must be 'each' or None, got \\['each'\\]"),
        ({"user": ""}, "user must be text that is not empty or None, got ''"),
        ({"cgroup": 3}, "cgroup must be text that is not empty or None, got 3"),
        ({"rlimits": {"files": 1}}, "rlimits has no 'files' here; it has "),
        ({"rlimits": {"nofile": "many"}}, r"rlimits\['nofile'\] must be a whole number"),
        ({"rlimits": 8}, "rlimits must map names, got 8"),
        ({"on_ready": "open"}, "on_ready must be an import path such as 'pkg.mod:function'"),
        ({"on_stop": "a b:c"}, "on_stop must be an import path"),
        ({"kind": "thread", "cpus": "each"}, "cpus needs kind='process': a thread shares the CPUs"),
        ({"kind": "thread", "user": "me"}, "user needs kind='process'"),
    ],
)
def test_what_a_group_cannot_have_is_refused(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidSpec, match=rule):
        nodes("web", **options)


def test_a_range_decides_how_many_nodes_there_are_first() -> None:
    assert nodes("web", min=2, max=8).count == 2
    assert nodes("web", count=3, max=8).min == 3
    assert nodes("web", count=4, min=2, max=8).count == 4


# -- values per slot, and rights -----------------------------------------------------------------


async def test_each_node_has_its_slot_in_its_environment_and_a_cpu_of_its_own() -> None:
    group = nodes("gpu", count=2, env={"DEVICE": "cuda:{slot}", "SAME": "{x}"}, cpus="each")
    usable = sorted(os.sched_getaffinity(0))
    async with System(Topology(nodes=[group])) as system:
        assert await ask_each(system, Facts.environment, "DEVICE") == ["cuda:0", "cuda:1"]
        assert await ask_each(system, Facts.environment, "SAME") == ["{x}"] * 2
        expected = [{usable[slot % len(usable)]} for slot in range(2)]
        assert await ask_each(system, Facts.cpus) == expected


async def test_nodes_have_the_limits_that_their_group_names() -> None:
    group = nodes("web", rlimits={"nofile": 512, "core": 0})
    async with System(Topology(nodes=[group])) as system:
        assert await ask_each(system, Facts.limits) == [(512, 512)]


def test_a_process_becomes_the_user_with_its_groups() -> None:
    if os.getuid() != 0:
        pytest.skip("only root may become another user")
    nobody = pwd.getpwnam("nobody")
    code = (
        "import os; from actors.nodes.process_settings import process_settings, take_settings\n"
        "from actors import nodes\n"
        "take_settings(process_settings(nodes('web', user='nobody'), 0))\n"
        "print(os.getuid(), os.getgid(), os.getgroups())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2)[:2] == [str(nobody.pw_uid), str(nobody.pw_gid)]
    assert "0" not in done.stdout.split(maxsplit=2)[2].strip("[]\n").split(", ")


@pytest.mark.parametrize(
    "options, why",
    [
        ({"user": "no-such-user"}, "user='no-such-user': there is no such user"),
        (
            {"cgroup": "/no/such/group"},
            "cgroup='/no/such/group': No such file or directory; it must",
        ),
    ],
)
async def test_what_a_node_may_not_take_on_is_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(BootFailed) as caught:
        async with System(Topology(nodes=[nodes("web", **options)])):
            raise AssertionError
    assert why in str(caught.value)


# -- hooks ----------------------------------------------------------------------------------------


async def test_hooks_run_before_a_node_gets_anything_and_after_it_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = nodes(
        "web", env={"LOG": str(log)}, on_ready=f"{HOOKS}:opened", on_stop=f"{HOOKS}:closed"
    )
    async with System(Topology(nodes=[group])) as system:
        assert log.read_text() == "opened\n"
        (node,) = started(system)
        ref = await system.spawn(Facts, on="web")
        assert await ref.ask(Facts.environment, "OPENED") == "yes"
        os.kill(node.pid or 0, 9)  # there is nobody who could call `on_stop`
        await eventually(lambda: log.read_text() == "opened\nopened\n")
        await eventually(lambda: started(system)[0].ready)
    assert log.read_text() == "opened\nopened\nclosed\n"


@pytest.mark.parametrize(
    "hooks, why",
    [
        ({"on_ready": f"{HOOKS}:fails"}, "no database"),
        ({"on_ready": f"{HOOKS}:missing"}, "missing"),
        ({"on_stop": f"{HOOKS}:missing"}, "missing"),
    ],
)
async def test_a_hook_that_fails_or_is_not_there_fails_the_start(
    hooks: dict[str, Any], why: str
) -> None:
    with pytest.raises(BootFailed, match=why):
        async with System(Topology(nodes=[nodes("web", kind="thread", **hooks)])):
            raise AssertionError


async def test_no_node_may_start_others_as_another_user() -> None:
    async with System(Topology(nodes=[nodes("web", kind="thread")])) as system:
        ref = await system.spawn(Starter, on="web")
        with pytest.raises(
            actors.errors.ActorsError, match=r"nodes\('more', user=...\) is for the"
        ):
            await ref.ask(Starter.start)


class Starter(Actor):
    """Asks for more nodes."""

    async def start(self) -> None:
        await self.context.system.start(nodes("more", user="root"))


# -- memory ------------------------------------------------------------------------------------------


def test_the_least_of_the_machine_and_its_control_groups_counts(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    group = tmp_path / "sys/fs/cgroup/a"
    group.mkdir(parents=True)
    assert memory_left(tmp_path) == 1.0
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 600 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    assert memory_left(tmp_path) == 0.6
    (group / "memory.max").write_text("1000\n")
    (group / "memory.current").write_text("750\n")
    assert memory_left(tmp_path) == 0.25
    (group / "memory.max").write_text("max\n")
    assert memory_left(tmp_path) == 0.6
