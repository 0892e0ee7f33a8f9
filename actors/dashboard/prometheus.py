"""The figures of a system as Prometheus metrics, by `prometheus_client` (extra ``admin``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from actors._base.durations import BUCKETS_PER_DOUBLING, UNIT, Histogram

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from actors.dashboard.user_metrics import Family

__all__ = ["CONTENT_TYPE", "exposition"]

_ENDS: Final = range(0, 15 * 2 * BUCKETS_PER_DOUBLING, 2 * BUCKETS_PER_DOUBLING)
"""The buckets of histograms that are shown: from 1 µs to 268 s, each four times the one before."""
_STATES: Final = ("STARTING", "READY", "UNHEALTHY", "STOPPING", "RESTARTING", "BACKING_OFF")
"""Those of an instance of a program that are always shown."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(figures: Mapping[str, Any], users: Iterable[Family] = ()) -> bytes:
    """Return metrics in Prometheus' text format.

    Args:
        figures: what the parent has gathered.
        users: the users' own metrics; one that has the name of one of ours is left out.

    Raises:
        ModuleNotFoundError: prometheus_client is not installed.
    """
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - of an extra

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(figures, users))
    return generate_latest(registry)


class _Figures:
    """Collects what was gathered once."""

    def __init__(self, figures: Mapping[str, Any], users: Iterable[Family]) -> None:
        self._figures = figures
        self._users = users

    def collect(self) -> Iterator[Metric]:
        names = set()
        for ours in self._ours():
            names.add(ours.name)
            yield ours
        for family in self._users:
            if family.name not in names:
                yield _of_user(family)

    def _ours(self) -> Iterator[Metric]:
        yield from _of_nodes(self._figures["nodes"])
        yield from _of_listeners(self._figures["listeners"])
        yield from _of_pools(self._figures["pools"])
        yield from _of_programs(self._figures["programs"])
        if places := self._figures.get("places"):
            yield from _of_places(places)
        yield _family(
            "counter",
            "actors_events",
            "Events of the system by kind, as `actors events` shows them.",
            ["kind"],
            [([kind], count) for kind, count in self._figures["events"].items()],
        )


def _family(
    kind: str, name: str, text: str, labels: list[str], samples: Iterable[tuple[list[str], float]]
) -> Metric:
    from prometheus_client.core import (  # noqa: PLC0415 - of an extra
        CounterMetricFamily,
        GaugeMetricFamily,
    )

    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    family: Any = make(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    made: Metric = family
    return made


def _of_nodes(nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    answering = {name: facts["figures"] for name, facts in nodes.items() if facts["figures"]}
    groups = {facts["group"]: 0 for facts in nodes.values()}
    ready = dict(groups)
    for facts in nodes.values():
        groups[facts["group"]] += 1
        ready[facts["group"]] += facts["state"] == "READY"
    yield _family("gauge", "actors_nodes", "Nodes there are to be.", ["group"], _labelled(groups))
    yield _family(
        "gauge", "actors_nodes_ready", "Nodes that are ready.", ["group"], _labelled(ready)
    )
    yield from _of_processes(nodes, answering)
    yield from _of_requests(answering)
    yield from _of_classes(answering)
    yield from _of_handlers(answering)


def _of_processes(
    nodes: Mapping[str, Mapping[str, Any]], answering: Mapping[str, Mapping[str, Any]]
) -> Iterator[Metric]:
    restarts = {name: facts["restarts"] for name, facts in nodes.items()}
    yield _family(
        "counter",
        "actors_node_restarts",
        "How often a node was started again.",
        ["node"],
        _labelled(restarts),
    )
    answers = {name: float(facts["figures"] is not None) for name, facts in nodes.items()}
    yield _family(
        "gauge",
        "actors_node_answering",
        "1 if the node answered within a second.",
        ["node"],
        _labelled(answers),
    )
    columns = (
        ("gauge", "rss", "actors_node_resident_memory_bytes", "Resident memory of its process."),
        ("counter", "cpu", "actors_node_cpu_seconds", "CPU time of its process."),
        ("gauge", "lag", "actors_node_loop_lag_seconds", "How late its event loop was last."),
        (
            "gauge",
            "lent",
            "actors_node_lent_memory_bytes",
            "Shared memory it lends to other nodes.",
        ),
    )
    yield from _table("node", answering, columns)
    yield _family(
        "counter",
        "actors_node_attachments_sent",
        "Payloads sent to other nodes over the links there are, by the way they took.",
        ["node", "mode"],
        [
            ([node, mode], count)
            for node, figures in answering.items()
            for mode, count in figures["sent"].items()
        ],
    )


def _of_user(family: Family) -> Metric:
    from prometheus_client.core import Metric as Made  # noqa: PLC0415 - of an extra

    made = Made(family.name, family.text, family.kind)
    for (name, labels), value in family.samples.items():
        made.add_sample(name, dict(labels), value)
    return made


def _of_requests(answering: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - of an extra

    labels = ["listener", "node"]
    rows = [
        ([listener, node], count, times)
        for node, figures in answering.items()
        for listener, (count, times) in figures["serves"].items()
    ]
    text = "Requests of applications, connections or datagrams of handlers."
    counts = [(row[0], row[1]) for row in rows]
    yield _family("counter", "actors_listener_requests", text, labels, counts)
    text = "How long the application took for requests, and handlers for connections, while it was measured."
    made = HistogramMetricFamily("actors_listener_request_seconds", text, labels=labels)
    for values, _, times in rows:
        made.add_metric(values, *_buckets(times))
    yield made


def _of_handlers(answering: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - of an extra

    labels = ["node", "class", "method"]
    rows = [
        ([node, path, method], waited, ran, cpu)
        for node, figures in answering.items()
        for path, method, waited, ran, cpu in figures["handlers"]
    ]
    for name, text, place in (
        ("wait", "How long messages waited in mailboxes, estimated from some of them.", 1),
        ("run", "How long messages were handled, estimated from some of them.", 2),
    ):
        made = HistogramMetricFamily(f"actors_handler_{name}_seconds", text, labels=labels)
        for row in rows:
            made.add_metric(row[0], *_buckets(row[place]))
        yield made
    yield _family(
        "counter",
        "actors_handler_cpu_seconds",
        "CPU time of handlers, estimated from some of their messages.",
        labels,
        [(row[0], row[3]) for row in rows],
    )


def _buckets(raw: Any) -> tuple[list[tuple[str, float]], float]:
    """Return the buckets and the sum of a `Histogram` as Prometheus has them."""
    whole = Histogram()
    whole.merge(raw)
    total = whole.read()
    ends = [f"{UNIT * 2 ** (end / BUCKETS_PER_DOUBLING):.6g}" for end in _ENDS]
    counts = map(float, whole.up_to(_ENDS))
    shown = [*zip(ends, counts, strict=True), ("+Inf", float(total.count))]
    return shown, total.mean * total.count


def _of_classes(answering: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    for index, name, text in (
        (0, "actors_actors", "Actors that run, by class."),
        (1, "actors_mailbox_messages", "Messages that wait in mailboxes, by class."),
        (2, "actors_mailbox_bytes", "Bytes of big messages in mailboxes, by class."),
    ):
        samples = [
            ([node, path], found[index])
            for node, figures in answering.items()
            for path, found in figures["classes"].items()
        ]
        yield _family("gauge", name, text, ["node", "class"], samples)


def _of_listeners(listeners: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    shown = {facts["name"]: facts for facts in listeners}
    columns = (
        ("gauge", "accepting", "actors_listener_accepting", "1 while it accepts connections."),
        ("gauge", "pending", "actors_listener_pending", "Accepted connections that no node has."),
        ("counter", "accepted", "actors_listener_accepted", "Connections accepted."),
        ("counter", "refused", "actors_listener_refused", "Connections that a node refused."),
        ("counter", "dropped", "actors_listener_dropped", "Connections that were closed unserved."),
        ("counter", "redispatched", "actors_listener_redispatched", "Connections given anew."),
        (
            "counter",
            "passed_on",
            "actors_listener_passed_on",
            "Connections given to other machines.",
        ),
        ("gauge", "passing", "actors_listener_passing", "Those that another machine has now."),
    )
    yield from _table("listener", shown, columns)
    yield _family(
        "gauge",
        "actors_listener_connections",
        "Open connections.",
        ["listener", "node"],
        [
            ([name, node], open_)
            for name, facts in shown.items()
            for node, open_ in facts["open"].items()
        ],
    )


def _of_places(places: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    shown = [([one["name"], one["machine"]], one) for one in places]
    for name, text, value in (
        ("up", "1 while the place is heard of.", lambda one: float(one["state"] != "UNREACHABLE")),
        ("round_trip_seconds", "The way to its machine and back.", itemgetter("round_trip")),
        ("lease_left_seconds", "What is left of its lease.", itemgetter("lease_left")),
    ):
        samples = [(labels, value(one)) for labels, one in shown if value(one) is not None]
        yield _family("gauge", f"actors_place_{name}", text, ["place", "machine"], samples)


def _of_pools(pools: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    shown = {facts["name"]: facts for facts in pools}
    columns = (
        ("gauge", "queued", "actors_pool_queued", "Tasks that wait for a worker."),
        ("gauge", "running", "actors_pool_running", "Tasks that run."),
        ("gauge", "utilisation", "actors_pool_utilisation", "Part of its time in which it worked."),
        ("counter", "completed", "actors_pool_completed", "Tasks that returned a value."),
        ("counter", "failed", "actors_pool_failed", "Tasks that failed."),
    )
    yield from _table("pool", shown, columns)
    yield _family(
        "gauge",
        "actors_pool_workers_ready",
        "Workers that take tasks.",
        ["pool"],
        [
            ([name], float(sum(worker["ready"] for worker in facts["workers"])))
            for name, facts in shown.items()
        ],
    )


def _of_programs(programs: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    shown = {facts["name"]: facts for facts in programs}
    restarts = {name: float(facts["restarts"]) for name, facts in shown.items()}
    yield _family(
        "counter",
        "actors_program_restarts",
        "How often an instance was started again.",
        ["program"],
        _labelled(restarts),
    )
    yield _family(
        "gauge",
        "actors_program_state",
        "1 for the state that an instance is in, 0 for the others.",
        ["program", "state"],
        [
            ([name, state], float(state == facts["state"]))
            for name, facts in shown.items()
            for state in dict.fromkeys((*_STATES, facts["state"]))
        ],
    )
    yield _family(
        "gauge",
        "actors_program_healthy",
        "1 if an instance is ready, and its last check has passed if it has any.",
        ["program"],
        [
            ([name], float(facts["state"] == "READY" and not facts["health"]))
            for name, facts in shown.items()
        ],
    )
    columns = (
        ("gauge", "rss", "actors_program_resident_memory_bytes", "Resident memory of an instance."),
        ("counter", "cpu", "actors_program_cpu_seconds", "CPU time of the process of an instance."),
    )
    running = {name: facts for name, facts in shown.items() if facts["cpu"] is not None}
    yield from _table("program", running, columns)


def _table(
    label: str,
    rows: Mapping[str, Mapping[str, Any]],
    columns: Iterable[tuple[str, str, str, str]],
) -> Iterator[Metric]:
    """Yield a metric for each column, of kind, key, name and text, with a sample for each row."""
    for kind, key, name, text in columns:
        samples = [([row], float(facts[key])) for row, facts in rows.items()]
        yield _family(kind, name, text, [label], samples)


def _labelled(values: Mapping[str, float]) -> list[tuple[list[str], float]]:
    return [([label], value) for label, value in values.items()]
