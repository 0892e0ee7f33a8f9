"""A node that has reached a limit of its group is renewed, so that no client notices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from actors import Backoff, Topology, asgi, listen, nodes
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.errors import InvalidSpec
from actors.nodes import NodesSpec
from actors.testing import running_system
from tests.system.reload_rig import Code, Load, failing_at

MIB: Final = 2**20
PATIENCE: Final = 60.0
AT_ONCE: Final = Backoff(first=0.0, jitter=0.0)


@pytest.fixture
def anyio_backend() -> str:
    """One loop: the clients are written for it, and the nodes have their own."""
    return "asyncio"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Code:
    monkeypatch.syspath_prepend(str(tmp_path))
    written = Code(tmp_path)
    written.write("first")
    return written


@asynccontextmanager
async def under_load(
    code: Code, group: NodesSpec
) -> AsyncIterator[tuple[Any, AsyncIterator[Event]]]:
    """A system whose clients ask at fixed times, with kept connections and without; all are answered."""
    topology = Topology(nodes=[group], listeners=[listen(asgi(code.app), "127.0.0.1:0")])
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system:
            [listener] = coordinator_of(system).listeners
            assert listener.router is not None
            port, events = listener.router.port, system.events()
            loads = [Load(port, rate=60), Load(port, rate=60, keep=False)]
            async with loads[0].running(), loads[1].running():
                yield system, events
            events.close()
            assert [load.failures for load in loads] == [[], []]
            assert min(sum(load.answers.values()) for load in loads) > 0


async def next_of(kind: str, events: AsyncIterator[Event]) -> Mapping[str, Any]:
    """Return the facts of the next event of that *kind*."""
    while (event := await anext(events)).kind != kind:
        pass
    return event.facts


async def test_nodes_that_have_served_enough_are_renewed_and_no_request_fails(code: Code) -> None:
    group = nodes("web", count=2, max_requests=40, max_requests_jitter=20, backoff=AT_ONCE)
    async with under_load(code, group) as (system, events):
        first = {node.name: node.pid for node in system.nodes if node.group == "web"}
        renewed = [await next_of("node_replaced", events) for _ in range(4)]
        assert {facts["node"] for facts in renewed} <= set(first)
        for facts in renewed:
            why = facts["why"]
            assert why.startswith("replaced: it has served "), why
            assert why.endswith(" requests, max_requests is 40"), why
            assert int(why.split()[4]) >= 40


async def test_the_one_node_of_a_group_is_renewed_when_its_lifetime_is_over(code: Code) -> None:
    async with under_load(code, nodes("web", lifetime=0.5, backoff=AT_ONCE)) as (system, events):
        first = await anext(events)
        while first.kind not in ("node_ready", "node_draining"):
            first = await anext(events)
        assert first.kind == "node_ready"  # the next process is there before this one leaves
        leaving = await next_of("node_draining", events)
        assert leaving["why"] == "replaced: its lifetime of 0.5 s is over"
        for _ in range(2):
            await next_of("node_replaced", events)
        [node] = [node for node in system.nodes if node.name == "web/0"]
        assert node.restarts >= 2


async def test_a_node_that_serves_is_renewed_when_it_is_too_large(code: Code) -> None:
    slowly = Backoff(first=0.05, factor=2, cap=1, jitter=0)
    async with under_load(code, nodes("web", max_rss=1, backoff=slowly)) as (_, events):
        over = await next_of("node_over_rss", events)
        assert (over["node"], over["max_rss"]) == ("web/0", 1)
        facts = await next_of("node_replaced", events)
        assert facts["why"] == f"replaced: {over['rss'] / MIB:.0f} MiB resident, max_rss is 0 MiB"


async def test_a_node_goes_on_as_long_as_its_renewal_fails(code: Code, tmp_path: Path) -> None:
    code.write("first", begin=failing_at(2, tmp_path))
    async with under_load(code, nodes("web", max_requests=10, backoff=AT_ONCE)) as (_, events):
        failed = await next_of("recycle_failed", events)
        assert failed["node"] == "web/0"
        assert "no more of these" in failed["error"]
        await next_of("node_replaced", events)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"max_requests": 0}, "max_requests must be a whole number above 0 or None, got 0"),
        (
            {"max_requests": 9, "max_requests_jitter": -1},
            "max_requests_jitter must be a whole number, 0 or more, got -1",
        ),
        ({"lifetime": 0}, "lifetime must be more than 0 seconds or None, got 0"),
        (
            {"lifetime": 60, "kind": "thread"},
            "lifetime=60 needs kind='process': a thread shares the memory of its process",
        ),
    ],
)
def test_a_limit_that_can_never_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        nodes("web", **options)
    assert str(refused.value) == f"nodes('web'): {message}"
