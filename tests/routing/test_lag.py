"""Lag breaks ties between nodes with equally many connections, and noise does not."""

from functools import partial

import pytest

from actors.routing import LeastConnections, Router, Snapshot
from actors.routing.policy.lag import decayed, lags_behind, observe
from tests.routing.conftest import Rig


def accepted(router: Router, count: int) -> bool:
    return router.snapshot().accepted == count


def node(slot: int, lag: float, *, open: int = 0, last: int = 0) -> Snapshot:  # noqa: A002 - the field's name
    return Snapshot(
        f"web-{slot}",
        slot,
        open,
        0,
        ready=True,
        suspect=False,
        max_connections=None,
        last=last,
        lag=lag,
    )


@pytest.mark.parametrize(
    "nodes, chosen",
    [
        ([node(0, 0.002), node(1, 0.0, last=9)], 1),
        ([node(0, 0.002), node(1, 0.0, open=1)], 0),
        ([node(0, 0.0003), node(1, 0.0, last=9)], 0),
        ([node(0, 0.002), node(1, 0.001, last=9)], 0),
        ([node(0, 0.003, last=1), node(1, 0.003, last=2), node(2, 0.0, last=3)], 2),
        ([node(0, 0.004)], 0),
    ],
    ids=[
        "it is gone round among equals",
        "it still has fewer",
        "a little is none",
        "all lag",
        "two lag",
        "it is the only one",
    ],
)
def test_a_node_that_lags(nodes: list[Snapshot], chosen: int) -> None:
    found = LeastConnections().choose(nodes, None)
    assert found is not None
    assert found.slot == chosen


def test_one_hiccup_is_no_lag_and_many_are() -> None:
    assert not lags_behind(observe(0.0, 0.13), 0.0)
    lag = 0.0
    for _ in range(20):
        lag = observe(decayed(lag, 0.1), 0.045)
    assert lags_behind(lag, 0.0)


def test_prompt_answers_however_many_are_no_lag() -> None:
    lag = 0.0
    for _ in range(10_000):
        lag = observe(decayed(lag, 0.01), 0.001)
    assert not lags_behind(lag, 0.0)


def test_a_node_that_has_recovered_is_trusted_again_within_a_minute() -> None:
    lag = 0.0
    for _ in range(1000):
        lag = observe(lag, 1.0)
    assert lags_behind(decayed(lag, 20.0), 0.0)
    assert not lags_behind(decayed(lag, 60.0), 0.0)


def test_a_node_that_keeps_stalling_gets_only_a_look_now_and_then(rig: Rig) -> None:
    router = rig.router()
    nodes = rig.join(router, 3, auto_close=True)
    hot = nodes[0]
    hot.auto_ack = hot.auto_close = False
    for count in range(1, 61):
        rig.connect(router)
        rig.loop.until(partial(accepted, router, count))
        rig.loop.advance(0.05)  # half of `late_after`: never late, always slow
        for connection in list(hot.socks):
            hot.acknowledge(connection)
            hot.finish(connection)
    counts = [len(node.got) for node in nodes]
    assert sum(counts) == 60
    assert counts[0] <= 12, "it takes that many to know it"
    assert abs(counts[1] - counts[2]) <= 1, "those that are well share the rest"
