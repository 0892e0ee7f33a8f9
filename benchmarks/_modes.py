"""`python -m benchmarks modes`: what each way to send a payload costs on this machine, by its size.

There is no peer and no target: the figures show from which size on shared memory is faster here.
A figure is the median time from an `ask` with the payload to its answer, in a steady state.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import actors
from actors._system.system import coordinator_of
from actors.transport import FRAME_LIMIT, Attachments, Mode, Thresholds

__all__ = ["Way", "crossover", "show", "size_text", "slower_choices"]

KIB: Final = 1024
MIB: Final = 1024 * KIB
SIZES: Final = [KIB << step for step in range(11)] + [4 * MIB, 16 * MIB, 32 * MIB, 128 * MIB]
SECONDS: Final = 0.4
"""How long the ways of one size are measured in turn, if each has `LEAST` figures by then."""
LONGEST: Final = 2.0
"""How long at most: large copies are slow, and page faults can spoil any number of figures."""
LEAST: Final = 9
MOST: Final = 400
ALIKE: Final = 0.1
"""Two times that differ by less than this share count as equal, because the machine is shared."""

# Everything below the frame limit is copied, or everything is leased.
COPY: Final = Thresholds(share=FRAME_LIMIT)
LEASE: Final = Thresholds(share=1)

Row = dict[str, float]
"""Microseconds by way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to send a payload.

    Attributes:
        make: makes the payload; its time is not measured.
        sizes: the thresholds that select this way; None for the default ones.
        mode: as what the link must have counted it, or else the figure is discarded.
    """

    make: Callable[[], Any]
    sizes: Thresholds | None = None
    mode: Mode | None = None


class Scale(actors.Actor):
    """Replies the size of what it is sent."""

    async def weigh(self, payload: Any) -> int:
        """Return the length in bytes."""
        return len(payload)


def ways(size: int, *, linked: bool) -> dict[str, Way]:
    """Return every way to send *size* bytes within this process, or over a link."""
    data = bytes(size)
    view = memoryview(data)
    shared = actors.SharedBuffer(size)
    moved = {
        "move(Buffer)": Way(
            make=lambda: actors.move(actors.Buffer(size, zero=False)),
            mode=Mode.TRANSFER if linked else None,
        ),
        "SharedBuffer": Way(make=lambda: shared, mode=Mode.SHARED if linked else None),
    }
    if not linked:
        return {"bytes": Way(make=lambda: data), "view": Way(make=lambda: view), **moved}
    return {
        "bytes copied": Way(make=lambda: data, sizes=COPY),
        "bytes leased": Way(make=lambda: data, sizes=LEASE, mode=Mode.LEASE),
        "view copied": Way(make=lambda: view, sizes=COPY),
        "view leased": Way(make=lambda: view, sizes=LEASE, mode=Mode.LEASE),
        **moved,
    }


async def exchange(
    scale: actors.Ref[Scale], way: Way, attachments: Attachments | None
) -> float | None:
    """Return the microseconds of one exchange; None if the link sent it another way."""
    payload = way.make()
    if attachments is not None:
        attachments.thresholds = way.sizes or Thresholds()
    before = attachments.modes[way.mode] if attachments is not None and way.mode is not None else 0
    start = time.perf_counter()
    await scale.ask(Scale.weigh, payload)
    took = 1e6 * (time.perf_counter() - start)
    if attachments is not None and way.mode is not None and attachments.modes[way.mode] == before:
        return None
    return took


async def measure(scale: actors.Ref[Scale], attachments: Attachments | None, size: int) -> Row:
    """Return the medians of all ways for one size, measured in turn."""
    todo = ways(size, linked=attachments is not None)
    if size >= FRAME_LIMIT:  # too large to be copied into a frame
        todo = {name: way for name, way in todo.items() if way.sizes is not COPY}
    took: dict[str, list[float]] = {name: [] for name in todo}
    start = time.perf_counter()
    for _ in range(MOST):
        for name, way in todo.items():
            figure = await exchange(scale, way, attachments)
            if figure is not None:
                took[name].append(figure)
        spent = time.perf_counter() - start
        if spent > (SECONDS if min(map(len, took.values())) >= LEAST else LONGEST):
            break
    # The first third warms up.
    return {
        name: statistics.median(figures[len(figures) // 3 :])
        for name, figures in took.items()
        if figures
    }


async def measure_all() -> dict[str, dict[int, Row]]:
    """Return the rows of every place by size."""
    topology = actors.Topology(
        nodes=[actors.nodes("thread", kind="thread"), actors.nodes("process")]
    )
    async with actors.System(topology) as system:
        places = {
            "same process": system.node.name,
            "thread node": "thread",
            "process node": "process",
        }
        found: dict[str, dict[int, Row]] = {}
        for place, on in places.items():
            scale = await system.spawn(Scale, on=on)
            await scale.ask(Scale.weigh, b"")
            attachments = None if place == "same process" else _attachments(system, scale.node)
            found[place] = {size: await measure(scale, attachments, size) for size in SIZES}
    return found


def _attachments(system: actors.System, node: str) -> Attachments:
    (link,) = [
        peer.link
        for peer in coordinator_of(system).host.peers.values()
        if peer.name == node and peer.link is not None
    ]
    return link.attachments


def crossover(rows: dict[int, Row], what: str) -> int | None:
    """Return the size from which on leasing *what* was never slower than copying it."""
    both = {
        size: row for size, row in rows.items() if {f"{what} copied", f"{what} leased"} <= {*row}
    }
    found = None
    for size in sorted(both, reverse=True):
        if both[size][f"{what} leased"] > both[size][f"{what} copied"]:
            break
        found = size
    return found


def slower_choices(rows: dict[int, Row], what: str, share: int) -> list[tuple[int, float]]:
    """Return the sizes at which *share* selects the slower way, and by what share it was slower."""
    found = []
    least = 2 * share if what == "bytes" else share  # as `Attachments.may_share`
    for size, row in rows.items():
        copied, leased = row.get(f"{what} copied"), row.get(f"{what} leased")
        if copied is None or leased is None:
            continue
        chosen, other = (leased, copied) if size >= least else (copied, leased)
        if chosen > other * (1 + ALIKE):
            found.append((size, chosen / other - 1))
    return found


def size_text(size: int) -> str:
    """Return a size in bytes as KiB or MiB."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def _table(rows: dict[int, Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["", *columns]]
    for size, row in rows.items():
        cells = [f"{row[name]:,.0f}" if name in row else "-" for name in columns]
        lines.append([size_text(size), *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def _verdict(place: str, rows: dict[int, Row]) -> Sequence[str]:
    share = Thresholds().share
    lines = []
    for what in ("view", "bytes"):
        begins = crossover(rows, what)
        wins = (
            "shared memory never won"
            if begins is None
            else f"shared memory wins from {size_text(begins)}"
        )
        lines.append(f"{place}, {what}: {wins}")
        for size, part in slower_choices(rows, what, share):
            lines.append(
                f"  Thresholds.share takes the slower way at {size_text(size)}: {part:.0%} more"
            )
    return lines


def show() -> None:
    """Measure, and print the table and what follows from it."""
    found: dict[str, dict[int, Row]] = {}

    async def main() -> None:
        found.update(await measure_all())

    actors.run(main)
    for place, rows in found.items():
        print(f"\n{place}: microseconds from ask to answer")
        print(_table(rows))
    print()
    linked = [place for place in found if place != "same process"]
    for place in linked:
        print("\n".join(_verdict(place, found[place])))
    process = found["process node"]
    share = Thresholds().share
    wrong = [what for what in ("view", "bytes") if slower_choices(process, what, share)]
    right = "is right here" if not wrong else f"is not the best here for {' and '.join(wrong)}"
    print(f"Thresholds.share, {size_text(share)}, {right}")
