"""What `actors doctor` concludes from some looks at a system: pure, advice from figures.

Rule: each piece of advice has the figures it rests on; without any, the advice is to leave the system alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Advice", "diagnose"]

_BUSY: Final = 0.75
"""The part of its time that a node computes, from which its group needs another."""
_IDLE: Final = 0.4
"""The part that the nodes of a group may compute with one node less, so that one less is advised."""
_OWN_SHARE: Final = 0.5
"""The part of all handlers' CPU time, of one handler that should compute elsewhere."""
_LONG: Final = 0.02
"""Seconds of a message for which a loop should not compute."""
_LATE: Final = 0.1
"""Seconds that a loop was late, from which somebody waits for it."""
_DEEP: Final = 1000
"""Messages in a mailbox that are worth a word."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do.

    Attributes:
        about: the group, node, handler or actor.
        what: to do, in a few words.
        why: the figures.
    """

    about: str
    what: str
    why: str


def diagnose(looks: Sequence[dict[str, Any]], cpus: int) -> list[Advice]:
    """Return what should be done, the most urgent first; `leave it alone` if nothing should.

    Args:
        looks: what `actors top` shows, one after another.
        cpus: how many this machine lets the system use.
    """
    found = [
        *_blocked(looks),
        *_computing_handlers(looks),
        *_groups(looks, cpus),
        *_library_threads(looks, cpus),
        *_late(looks),
        *_mailboxes(looks),
    ]
    return found or [Advice("the system", "leave it alone", _figures(looks))]


def _blocked(looks: Sequence[dict[str, Any]]) -> Iterator[Advice]:
    told = set()
    for look in reversed(looks):
        for node in look["nodes"]:
            block = node["blocked"]
            if block and node["name"] not in told:
                told.add(node["name"])
                yield Advice(
                    node["name"],
                    f"see where it stands: actors stack {node['name']}",
                    f"{block['actor']} ({block['message']}) has kept its loop for {block['seconds']:.1f} s",
                )


def _computing_handlers(looks: Sequence[dict[str, Any]]) -> Iterator[Advice]:
    seconds, longest = defaultdict[str, float](float), defaultdict[str, float](float)
    for look in looks:
        for handler in look["handlers"]:
            name = f"{handler['class']}.{handler['method']}"
            seconds[name] += handler["cpu_seconds"]
            longest[name] = max(longest[name], handler["run"]["p50"])
    whole, time = sum(seconds.values()), sum(look["seconds"] for look in looks)
    for name, own in seconds.items():
        if own >= _OWN_SHARE * whole and longest[name] >= _LONG and own >= _BUSY * time / 2:
            yield Advice(
                name,
                "move its computation to a pool: actors.pool() and pool.run(function, ...)",
                f"it used {own / time:.0%} of a CPU, half of its messages more than {_ms(longest[name])}; "
                "what comes meanwhile waits. Functions that release the interpreter's lock, such as "
                "hashlib.scrypt, zlib and much of numpy, only need a thread: actors.offload()",
            )


def _groups(looks: Sequence[dict[str, Any]], cpus: int) -> Iterator[Advice]:
    shares = defaultdict[str, dict[str, list[float]]](lambda: defaultdict(list))
    rows = [node for look in looks for node in look["nodes"] if node["kind"] == "process"]
    for node in rows:
        if node["cpu"] is not None:
            shares[_group(node)][node["name"]].append(node["cpu"])
    elsewhere = {_group(node) for node in rows if node.get("place")}
    whole = sum(len(nodes) for group, nodes in shares.items() if group not in elsewhere)
    for group, nodes in shares.items():
        means = [fmean(one) for one in nodes.values()]
        busy, count = fmean(means), len(means)
        why = f"its {count} nodes compute {busy:.0%} of their time"
        if busy >= _BUSY and (group in elsewhere or whole < cpus):
            yield Advice(group, f"more nodes: actors scale {group}={count + 1}", why)
        elif busy >= _BUSY:
            why = f"{why}, and there are {cpus} CPUs for {whole} nodes"
            yield Advice(group, "more CPUs, or less work: more nodes would only switch", why)
        elif count > 1 and busy * count / (count - 1) < _IDLE:
            fewer = f"{count - 1} {'node' if count == 2 else 'nodes'}"  # noqa: PLR2004 - then one is left
            what = f"{fewer} would do: actors scale {group}={count - 1}"
            yield Advice(group, f"if it is so at its busiest, {what}", why)


def _group(node: dict[str, Any]) -> str:
    name: str = node["name"]
    return name.rpartition("/")[0]


def _library_threads(looks: Sequence[dict[str, Any]], cpus: int) -> Iterator[Advice]:
    shown = looks[-1]["nodes"] if looks else []
    nodes = [node for node in shown if node["kind"] == "process" and not node.get("place")]
    said = [str(node.get("library_threads", "")) for node in nodes]
    counts = [int(text) for text in said if text.isascii() and text.isdigit()]
    if sum(counts) > max(cpus, len(counts)):
        yield Advice(
            "OMP_NUM_THREADS",
            "leave it unset, or nodes(env={'OMP_NUM_THREADS': '1'}): nodes share the CPUs by themselves then",
            f"numpy and the like may compute in {sum(counts)} threads of {len(counts)} nodes, and there are "
            f"{cpus} CPUs",
        )


def _late(looks: Sequence[dict[str, Any]]) -> Iterator[Advice]:
    lags: dict[str, float] = {}
    for look in looks:
        for node in look["nodes"]:
            if node["lag"] is not None and node["blocked"] is None:
                lags[node["name"]] = max(lags.get(node["name"], 0.0), node["lag"])
    for name, lag in lags.items():
        if lag >= _LATE:
            what = f"see what computes: actors profile {name}"
            yield Advice(name, what, f"its loop was {_ms(lag)} late")


def _mailboxes(looks: Sequence[dict[str, Any]]) -> Iterator[Advice]:
    depths = defaultdict[str, list[int]](list)
    for look in looks:
        for actor in look["actors"]:
            if actor["mailbox"] is not None:
                depths[actor["name"]].append(actor["mailbox"])
    for name, deep in depths.items():
        if deep[-1] >= _DEEP and deep[-1] >= deep[0]:
            what = "spread its work over more actors, or have its senders wait: ask, or a bounded mailbox"
            yield Advice(name, what, f"{deep[-1]:,} messages wait for it, {deep[0]:,} at first")


def _figures(looks: Sequence[dict[str, Any]]) -> str:
    """Return what the nodes did, for a system that is well."""
    cpu = [node["cpu"] for look in looks for node in look["nodes"] if node["cpu"] is not None]
    lag = [node["lag"] for look in looks for node in look["nodes"] if node["lag"] is not None]
    if not cpu:
        return "it has no nodes that could be looked at"
    late = f", and their loops are at most {_ms(max(lag))} late" if lag else ""
    return f"its nodes compute {fmean(cpu):.0%} of their time{late}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
