"""What `actors bench` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from actors.cli.bench.load import Outcome

__all__ = ["as_facts", "as_text"]

_PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
_LIMITED: Final = 0.9
"""The part of the time that this program computes, from which it is what limits the rate."""
_OPENED: Final = 101


def as_facts(outcome: Outcome, rate: float | None) -> dict[str, Any]:
    """Return the figures; times are in seconds.

    Args:
        outcome: what came of the load.
        rate: requests that were due in a second, or None.
    """
    waited, answered = sorted(outcome.waited), outcome.statuses.total()
    latency = {f"p{at:g}": _percentile(waited, at) for at in _PERCENTILES} if waited else {}
    return {
        "seconds": round(outcome.seconds, 3),
        "rate": rate,
        "answered": answered,
        "answered_per_second": round(answered / outcome.seconds, 1),
        "statuses": {str(status): count for status, count in sorted(outcome.statuses.items())},
        "failures": dict(outcome.failures.most_common()),
        "unsent": outcome.unsent,
        "latency": {**latency, **({"max": round(waited[-1], 6)} if waited else {})},
        "generator_busy": round(outcome.busy, 3),
    }


def _percentile(waited: list[float], at: float) -> float:
    """Return the least value that *at* percent are not above."""
    index = max(0, -(-len(waited) * at // 100) - 1)
    return round(waited[int(index)], 6)


def as_text(facts: dict[str, Any], url: str, connections: int) -> str:
    """Return the lines for people."""
    rate = facts["rate"]
    what = (
        "as many requests as there are answers" if rate is None else f"{rate:,g} requests a second"
    )
    lines = [f"{what} to {url} for {facts['seconds']:.1f} s over {connections:,} connections", ""]
    kinds = ", ".join(
        f"{count:,} messages" if status == str(_OPENED) else f"{count:,} with {status}"
        for status, count in facts["statuses"].items()
    )
    lines.append(f"answered  {facts['answered']:,}" + (f"  ({kinds})" if kinds else ""))
    failed = sum(facts["failures"].values())
    lines.append(f"failed    {failed:,}")
    lines += [f"          {count:,}: {why}" for why, count in facts["failures"].items()]
    if facts["unsent"]:
        lines.append(f"unsent    {facts['unsent']:,}: no connection was free until the end")
    lines.append(f"rate      {facts['answered_per_second']:,.0f} answers a second")
    if facts["latency"]:
        times = "  ".join(f"{name} {_ms(value)}" for name, value in facts["latency"].items())
        lines.append(f"latency   {times}")
    lines += ["", *_notes(facts)]
    return "\n".join(lines).rstrip()


def _notes(facts: dict[str, Any]) -> list[str]:
    notes = []
    if facts["rate"] is None:
        notes.append(
            "Each connection waited for its answer before it asked again, so these latencies leave out "
            "what other clients would have waited: for those, give a --rate."
        )
    if facts["generator_busy"] >= _LIMITED:
        notes.append(
            f"This program computed {facts['generator_busy']:.0%} of the time, so that the server may be "
            "faster: a generator in C such as wrk, or several of this, would show it."
        )
    return notes


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"
