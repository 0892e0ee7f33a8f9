"""The users' own metrics: how those of several nodes are added up, also when a node ends or lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily

from actors.dashboard.prometheus import exposition
from actors.dashboard.user_metrics import UserMetrics
from actors.nodes.health.user_metrics import user_metrics


def node(pid: int, *metrics: list[Any]) -> dict[str, Any]:
    return {"pid": pid, "figures": {"user": {"metrics": list(metrics), "error": ""}}}


def counter(value: float, name: str = "sold") -> list[Any]:
    return [name, "counter", "Sold.", "", [[f"{name}_total", [["shop", "ink"]], value]]]


def gauge(value: float, mode: str) -> list[Any]:
    return ["open", "gauge", "Open.", mode, [["open", [], value]]]


def values(metrics: UserMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {key: value for family in metrics.families() for key, value in family.samples.items()}


def test_counters_of_nodes_are_added_up_by_their_labels() -> None:
    metrics = UserMetrics()
    metrics.take({"web/0": node(1, counter(2)), "web/1": node(2, counter(3))})

    assert values(metrics) == {("sold_total", (("shop", "ink"),)): 5}


def test_a_counter_does_not_fall_when_a_node_ends_or_does_not_answer() -> None:
    metrics = UserMetrics()
    metrics.take({"web/0": node(1, counter(2)), "web/1": node(2, counter(3))})
    metrics.take({"web/0": {"pid": 1, "figures": None}, "web/1": node(3, counter(1))})
    assert list(values(metrics).values()) == [6]
    metrics.take({})
    assert list(values(metrics).values()) == [6]


def test_nodes_of_one_process_count_once() -> None:
    metrics = UserMetrics()
    metrics.take({"thr/0": node(1, counter(2)), "thr/1": node(1, counter(2))})

    assert list(values(metrics).values()) == [2]


@pytest.mark.parametrize(
    "mode, value", [("livesum", 7), ("sum", 7), ("min", 2), ("livemin", 2), ("max", 5)]
)
def test_a_gauge_is_what_its_mode_says_of_the_nodes_that_live(mode: str, value: float) -> None:
    metrics = UserMetrics()
    metrics.take({name: node(pid, gauge(9, mode)) for name, pid in (("web/0", 1), ("old/0", 3))})
    metrics.take({"web/0": node(1, gauge(2, mode)), "web/1": node(2, gauge(5, mode))})

    assert values(metrics) == {("open", ()): value}


@pytest.mark.parametrize("mode", ["all", "liveall", "mostrecent"])
def test_a_gauge_of_another_mode_is_shown_for_each_node(mode: str) -> None:
    metrics = UserMetrics()
    metrics.take({"web/0": node(1, gauge(2, mode)), "web/1": node(2, gauge(5, mode))})

    assert values(metrics) == {
        ("open", (("node", "web/0"),)): 2,
        ("open", (("node", "web/1"),)): 5,
    }


def test_nodes_that_disagree_about_a_metric_leave_it_as_the_first_has_it() -> None:
    metrics = UserMetrics()
    other = ["sold", "gauge", "Another.", "sum", [["sold", [], 1.0]]]
    metrics.take({"web/0": node(1, counter(2)), "web/1": node(2, other)})

    assert list(values(metrics)) == [("sold_total", (("shop", "ink"),))]


def test_a_metric_with_the_name_of_one_of_ours_is_left_out() -> None:
    metrics = UserMetrics()
    metrics.take({"web/0": node(1, counter(2, "actors_events"), counter(1))})
    nothing: dict[str, Any] = {"nodes": {}, "listeners": [], "pools": [], "programs": []}
    ours = {**nothing, "events": {"x": 1}}

    text = exposition(ours, metrics.families()).decode()

    assert 'actors_events_total{kind="x"} 1.0' in text
    assert 'sold_total{shop="ink"} 1.0' in text
    assert text.count("# TYPE actors_events_total") == 1


@pytest.fixture
def registered() -> Iterator[list[Any]]:
    """What a test has registered with the library, to be taken back."""
    made: list[Any] = []
    yield made
    for one in made:
        REGISTRY.unregister(one)


def test_what_a_process_has_registered_is_read_without_what_the_library_adds(
    registered: list[Any],
) -> None:
    sold = Counter("test_sold", "Sold.", ["shop"])
    level = Gauge("test_level", "Level.", multiprocess_mode="livemax")
    registered += [sold, level]
    sold.labels("<ink>").inc(2)
    level.set(3)

    found = user_metrics()

    mine = [metric for metric in found["metrics"] if metric[0].startswith("test_")]
    assert mine == [
        ["test_sold", "counter", "Sold.", "", [["test_sold_total", [("shop", "<ink>")], 2.0]]],
        ["test_level", "gauge", "Level.", "livemax", [["test_level", [], 3.0]]],
    ]
    assert not [metric for metric in found["metrics"] if metric[0].startswith("process_")]
    assert found["error"] == ""


class _Failing:
    def __init__(self, many: int) -> None:
        self._many = many

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        if not self._many:
            raise ValueError("no database")
        made = GaugeMetricFamily("test_many", "Many.", labels=["n"])
        for number in range(self._many):
            made.add_metric([str(number)], 1)
        yield made


@pytest.mark.parametrize("many, says", [(0, "ValueError: no database"), (30_000, "more than")])
def test_a_collector_that_fails_or_is_without_bounds_is_said(
    registered: list[Any], many: int, says: str
) -> None:
    failing = _Failing(many)
    REGISTRY.register(failing)
    registered.append(failing)

    assert says in user_metrics()["error"]
