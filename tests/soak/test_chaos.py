"""The chaos run: whatever happened, every ask has ended, nothing is lost unsaid, nothing is left."""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import anyio
import psutil
import pytest

from actors import System
from actors._remoting.link import Link
from tests.soak.chaos import NODES, Chaos, topology
from tests.soak.chaos_actors import LEDGER, Ledger

SECONDS = float(os.environ.get("CHAOS_SECONDS", "120"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or int.from_bytes(os.urandom(3))
GROWTH = 32 << 20
"""Bytes by which the parent may have grown: caches and what the allocator keeps, but no leak."""
_BRIEF = ("Trio thread", "actors log")
"""Threads that end when they have had nothing to do for a while."""
_THREAD = "thread "
"""Begins the figure that counts the threads of one name."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 240)]


def _figures() -> Counter[str]:
    gc.collect()
    process = psutil.Process()
    names = (thread.name for thread in threading.enumerate())
    return Counter(
        {
            "descriptors": process.num_fds(),
            "processes": len(process.children()),
            "links": sum(type(found) is Link for found in gc.get_objects()),
            "resident KiB": process.memory_info().rss >> 10,
        }
    ) + Counter(f"{_THREAD}{name}" for name in names if not name.startswith(_BRIEF))


def _table(title: str, figures: Mapping[str, object]) -> str:
    rows = [f"  {name:<28} {value!s:>12}" for name, value in sorted(figures.items())]
    return "\n".join([title, *rows])


@pytest.fixture(params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return ("trio", {}) if request.param == "trio" else ("asyncio", {"use_uvloop": True})


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> Iterator[Ledger]:
    path = tmp_path / "ledger"
    monkeypatch.setenv(LEDGER, str(path))
    ledger = Ledger.create(path)
    yield ledger
    ledger.close()


@pytest.fixture
def full_log(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard error is a pipe that nobody reads, and it is full after a few lines."""
    theirs, ours = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(ours, "w", buffering=1, closefd=True) as file:
        monkeypatch.setattr(sys, "stderr", file)
        yield
        os.close(theirs)


async def test_chaos_leaves_no_ask_open_and_nothing_unsaid(ledger: Ledger, full_log: None) -> None:
    async with System(topology(os.environ[LEDGER])) as system:
        chaos = Chaos(system, ledger, SEED)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chaos.listen)
            await chaos.gather()
            before = _figures()
            await chaos.run(SECONDS, print)
            await chaos.rest()
            await chaos.settle()
            after = _figures()
            calls = await chaos.calls()
            tasks.cancel_scope.cancel()
    _show(chaos, before, after, calls)
    _judge(chaos, before, after, calls)


def _show(chaos: Chaos, before: Counter[str], after: Counter[str], calls: Counter[str]) -> None:
    letters = {
        "told": chaos.sent,
        "processed": chaos.processed,
        "dead letters": chaos.dead,
        "of these, may have run": chaos.maybe,
    }
    grown = {name: f"{before[name]} -> {after[name]}" for name in before | after}
    print(f"\nchaos: {SECONDS:g} s, CHAOS_SEED={SEED}")  # noqa: T201 - figures are what a soak is for
    for title, figures in (
        ("what was done", chaos.blows),
        (f"asks of the parent: {chaos.begun}", chaos.asks),
        ("asks between nodes, of those that live", calls),
        ("tells of the parent", chaos.tells),
        ("law 9", letters),
        ("actors at the end", chaos.ends),
        ("events", chaos.events),
        ("the parent, before and after", grown),
    ):
        print(_table(title, figures))  # noqa: T201 - as above


def _judge(chaos: Chaos, before: Counter[str], after: Counter[str], calls: Counter[str]) -> None:
    assert chaos.begun == chaos.asks.total()
    assert chaos.asks["hung"] == 0
    assert calls.total() == 2 * calls["made"]
    assert chaos.unsaid == 0
    assert chaos.strange == []
    known = chaos.processed + chaos.dead
    assert known >= chaos.sent >= known - chaos.maybe
    assert chaos.ends.total() == len(chaos.refs)
    assert chaos.ends["serves"] > len(chaos.refs) * 0.9
    assert after["processes"] == before["processes"] >= NODES
    for name in after:
        if name in ("descriptors", "links") or name.startswith(_THREAD):
            assert after[name] <= before[name], name
    assert after["resident KiB"] - before["resident KiB"] < GROWTH >> 10
