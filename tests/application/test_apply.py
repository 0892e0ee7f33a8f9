"""Files applied to running systems: what differs is changed, what is in both goes on."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings

import actors
from actors._base.errors import ActorsError, InvalidSpec
from actors._system.application import BadField, build
from actors._system.application.plan import plan, tree_items, wanted_groups
from actors._system.control.apply import apply, running_now
from actors._system.coordinator import Coordinator
from actors._system.pool_spec import PoolSpec
from actors._system.system import coordinator_of
from actors._system.tree_specs import ActorSpec
from tests.application.files import pairs
from tests.application.parts import Counter

THREAD = {"kind": "thread"}
COUNTER = {"class": "tests.application.parts:Counter"}
ECHO = {"handler": "tests.application.parts:echo", "address": "127.0.0.1:0"}
pytestmark = pytest.mark.within(60)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {}


async def change(core: Coordinator, tables: dict[str, Any], **options: Any) -> list[str]:
    """Apply a file; return what was done, as "action name"."""
    order: list[list[Any]] = [list(path) for path in build(tables).order]
    async with aclosing(apply(core, tables, order)) as planned:  # type: ignore[type-var] # a generator
        shown = (await anext(planned))["changes"]
    done: list[str] = []
    async with aclosing(apply(core, tables, order, expected=shown, **options)) as steps:  # type: ignore[type-var] # as above
        async for step in steps:
            if "done" in step:
                one = shown[step["done"]]
                done.append(f"{one['action']} {one['name']}")
    return done


def system_of(tables: dict[str, Any]) -> actors.System:
    return actors.System(build(tables).topology, local=False)


def numbers(core: Coordinator) -> dict[str, object]:
    """Return what tells one run of each part from its next."""
    found: dict[str, object] = {
        name: node.run.number for name, node in core.nodes.items() if node.run is not None
    }
    for listening in core.listeners:
        found[f"listener {listening.spec.name}"] = listening
    for path, item in tree_items(core.declared.children):
        actor = core.registry.get(item.name) if isinstance(item, ActorSpec) else None
        found[path] = path in core.tree.handles if actor is None else actor.uid
        if isinstance(item, PoolSpec):
            found[path] = core.pools.names.get(item.name)
    return found


ALERTS_END_AND_A_CHILD_BEGINS: tuple[dict[str, Any], dict[str, Any]] = (
    {"nodes": {"a": {"kind": "thread"}}, "alerts": {"lag": 5.0}},
    {
        "nodes": {"a": {"kind": "thread"}},
        "children": {"x": {"class": "tests.application.parts:Counter", "args": [0], "on": "a"}},
    },
)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(files=ALERTS_END_AND_A_CHILD_BEGINS)
@given(files=pairs(kinds=("thread",)))
async def test_any_file_becomes_any_other_in_a_system_of_threads(
    files: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    await becomes(*files)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.within(900)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=pairs(kinds=("thread",)))
async def test_many_files_become_others_in_a_system_of_threads(
    files: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    await becomes(*files)


async def becomes(first: dict[str, Any], second: dict[str, Any]) -> None:
    wanted = build(second).topology
    async with system_of(first) as system:
        core = coordinator_of(system)
        before = numbers(core)
        touched = {one.name for one in plan(running_now(core), wanted)}

        await change(core, second, stop_serving=True)

        assert plan(running_now(core), wanted) == []
        assert core.declared.alerts == core.alerts.spec == wanted.alerts
        assert {node.name for node in system.nodes if node.name.partition("/")[0] != "p"} >= {
            spec.named(slot)
            for spec in wanted_groups(wanted).values()
            for slot in range(spec.count)
        }
        after = numbers(core)
        for name in before.keys() & after.keys():
            changed = {name, name.partition("/")[0], name.removeprefix("listener ")} & touched
            assert changed or before[name] == after[name]


async def test_nothing_is_changed_where_a_listener_would_be_closed_unless_that_is_wanted() -> None:
    tables = {"nodes": {"web": THREAD}, "listeners": {"http": ECHO}}
    async with system_of(tables) as system:
        core = coordinator_of(system)
        (http,) = core.listeners
        with pytest.raises(InvalidSpec) as caught:
            await change(core, {"nodes": {"web": THREAD}})
        assert str(caught.value) == (
            "this would stop what serves: listener http; nothing was changed. "
            "`actors apply --stop-serving` does it"
        )
        assert core.listeners == [http]

        assert await change(core, {"nodes": {"web": THREAD}}, stop_serving=True) == ["stop http"]
        assert core.listeners == []


async def test_the_group_of_a_listener_is_stopped_with_it_only_if_that_is_wanted() -> None:
    tables = {"nodes": {"web": THREAD, "b": THREAD}, "listeners": {"http": ECHO}}
    moved = {"nodes": {"b": THREAD}, "listeners": {"http": {**ECHO, "nodes": "b"}}}
    async with system_of(tables) as system:
        core = coordinator_of(system)
        with pytest.raises(InvalidSpec, match="listener http, group web"):
            await change(core, moved)
        done = await change(core, moved, stop_serving=True)
        assert done == ["stop http", "stop web", "start http"]
        (http,) = core.listeners
        assert http.router is not None
        port = int(str(http.router.snapshot().address).rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            await client.send(b"hello")
            assert await client.receive() == b"hello"


async def test_what_fails_ends_it_and_the_same_file_goes_on_from_there() -> None:
    broken = {"class": "tests.application.parts:Broken", "on": "b"}
    after = {
        "nodes": {"b": THREAD},
        "children": {"x": broken, "y": {**COUNTER, "on": "b"}},
    }
    async with system_of({"nodes": {"a": THREAD}}) as system:
        core = coordinator_of(system)
        with pytest.raises(ActorsError) as caught:
            await change(core, after)
        said = str(caught.value)
        assert said.startswith("child x was not started: ")
        assert "it never starts" in said
        assert said.endswith("2 of 4 changes were made before")
        assert [node.name for node in system.nodes] == ["b/0"]

        after["children"]["x"] = {**COUNTER, "on": "b"}
        assert await change(core, after) == ["start x", "start y"]


async def test_changes_that_are_not_those_that_were_shown_are_refused() -> None:
    tables = {"nodes": {"a": THREAD}}
    async with system_of(tables) as system:
        core = coordinator_of(system)
        steps = apply(core, {"nodes": {"a": {**THREAD, "count": 2}}}, [], expected=[])
        await anext(steps)
        with pytest.raises(InvalidSpec, match="has changed since the changes were shown"):
            await anext(steps)


async def test_one_file_is_applied_at_a_time() -> None:
    tables = {"nodes": {"a": THREAD}}
    async with system_of(tables) as system:
        core = coordinator_of(system)
        core.applying = True
        with pytest.raises(ActorsError, match="another file is being applied"):
            await change(core, {"nodes": {"a": {**THREAD, "count": 2}}})


async def test_it_goes_on_when_the_command_has_ended() -> None:
    tables = {"nodes": {"a": THREAD}}
    more = {"nodes": {"a": {**THREAD, "count": 3}, "b": THREAD}}
    async with system_of(tables) as system:
        core = coordinator_of(system)
        shown = (await anext(apply(core, more, [])))["changes"]
        events = system.events()
        begun = anyio.Event()

        async def ask() -> None:
            async for step in apply(core, more, [], expected=shown):
                if "done" in step:
                    begun.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await begun.wait()
            tasks.cancel_scope.cancel()
        async for event in events:
            if event.kind == "apply_done":
                break
        events.close()
        assert [node.name for node in system.nodes] == ["a/0", "a/1", "a/2", "b/0"]


async def test_a_supervisor_that_is_restarted_later_starts_what_it_is_to_have_now() -> None:
    inside = {**COUNTER, "on": "a", "under": "s"}
    tables = {
        "nodes": {"a": THREAD},
        "supervisors": {"s": {"strategy": "one_for_all"}},
        "children": {"x": inside, "y": inside},
    }
    async with system_of(tables) as system:
        core = coordinator_of(system)
        x = await system.lookup("x", Counter)
        assert x is not None
        await x.ask(Counter.add)

        changed = tables | {"children": {"x": inside, "z": {**inside, "args": [5]}}}
        assert await change(core, changed) == ["stop s/y", "start s/z"]
        assert await x.ask(Counter.add) == 2

        await core.tree.find("").stop_child("s")
        await core.tree.find("").restart_child("s")
        assert await system.lookup("y") is None
        z = await system.lookup("z", Counter)
        assert z is not None
        assert await z.ask(Counter.add) == 6


async def test_a_name_that_an_actor_of_a_program_has_is_refused_before_anything_is_changed() -> (
    None
):
    async with system_of({"nodes": {"a": THREAD}}) as system:
        core = coordinator_of(system)
        await system.spawn(Counter, name="x", on="a")
        with pytest.raises(BadField, match="an actor that is not of a file has that name"):
            await change(core, {"nodes": {"a": THREAD, "b": THREAD}, "children": {"x": COUNTER}})
        assert [node.name for node in system.nodes] == ["a/0"]


async def test_an_address_that_another_program_has_is_refused_before_anything_is_changed() -> None:
    async with (
        system_of({"nodes": {"web": THREAD}}) as system,
        await anyio.create_tcp_listener(local_host="127.0.0.1") as taken,
    ):
        port = taken.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio's, not Django's
        tables = {
            "nodes": {"web": THREAD, "b": THREAD},
            "listeners": {"http": {**ECHO, "address": f"127.0.0.1:{port}"}},
        }
        with pytest.raises(OSError, match="in use"):
            await change(coordinator_of(system), tables)
        assert [node.name for node in system.nodes] == ["web/0"]


async def test_process_nodes_are_renewed_one_by_one_and_keep_their_actors_addresses() -> None:
    tables = {"nodes": {"a": {}}, "children": {"x": {**COUNTER, "on": "a"}}}
    async with system_of(tables) as system:
        core = coordinator_of(system)
        x = await system.lookup("x", Counter)
        assert x is not None
        pid = core.nodes["a/0"].pid

        done = await change(core, tables | {"nodes": {"a": {"env": {"MARK": "1"}}}})

        assert done == ["renew a"]
        assert core.nodes["a/0"].pid != pid
        await x.wait_ready()
        assert await x.ask(Counter.add) == 1
        assert core.nodes["a/0"].spec.env == {"MARK": "1"}


async def test_a_group_that_cannot_be_renewed_goes_on_as_it_was() -> None:
    tables: dict[str, Any] = {"nodes": {"a": {}}}
    async with system_of(tables) as system:
        core = coordinator_of(system)
        pid = core.nodes["a/0"].pid
        with pytest.raises(ActorsError, match=r"group a was not renewed: .*no_such_module"):
            await change(core, {"nodes": {"a": {"preload": ["no_such_module"]}}})
        assert core.nodes["a/0"].pid == pid
        assert core.nodes["a/0"].spec.preload == ()


async def test_what_ran_on_a_node_that_goes_runs_on_another_one_afterwards() -> None:
    pool = {"size": 2, "on": "a"}
    tables = {
        "nodes": {"a": {**THREAD, "count": 2}},
        "children": {name: {**COUNTER, "on": "a"} for name in "uvwxyz"},
        "pools": {"p": pool},
    }
    async with system_of(tables) as system:
        core = coordinator_of(system)
        await change(core, tables | {"nodes": {"a": THREAD}})
        for name in "uvwxyz":
            found = await system.lookup(name)
            assert found is not None
            assert found.node == "a/0"
        shared = await system.pool("p")
        assert shared is not None
        assert [ref.node for ref in await shared.members()] == ["a/0", "a/0"]
        assert await shared.run(abs, -5) == 5


async def test_alerts_are_started_changed_and_stopped_and_nothing_else_notices() -> None:
    nodes = {"nodes": {"a": THREAD}}
    async with system_of(nodes) as system:
        core = coordinator_of(system)
        before = numbers(core)
        first, second = ({"memory": limit, "every": 0.1} for limit in (1, 1 << 60))

        events = system.events()
        assert await change(core, {**nodes, "alerts": first}) == ["start thresholds"]
        async for event in events:
            if event.kind == "alert_raised":
                break
        assert await change(core, {**nodes, "alerts": second}) == ["change thresholds"]
        async for event in events:
            if event.kind == "alert_cleared":
                break
        assert await change(core, {**nodes, "alerts": second}) == []
        assert await change(core, nodes) == ["stop thresholds"]
        assert numbers(core) == before
        assert core.alerts.spec is None


async def test_programs_are_started_scaled_and_ended() -> None:
    sleep = {"command": ["sleep", "60"]}
    async with system_of({"programs": {"a": sleep, "b": sleep}}) as system:
        core = coordinator_of(system)
        before = {facts["name"]: facts["pid"] for facts in core.programs.facts()}
        more = {"programs": {"a": {**sleep, "instances": 2}, "c": sleep}}

        assert await change(core, more) == ["stop b", "scale a", "start c"]

        after = {facts["name"]: facts["pid"] for facts in core.programs.facts()}
        assert sorted(after) == ["a/0", "a/1", "c/0"]
        assert after["a/0"] == before["a/0"]
        assert await change(core, more) == []
        await core.programs.scale("a", 1)
        assert await change(core, more) == ["scale a"]
        other = {"programs": {"a": {"command": ["sleep", "61"], "instances": 2}, "c": sleep}}
        assert await change(core, other) == ["stop a", "start a"]
