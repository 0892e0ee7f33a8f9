"""A million damaged messages, and what coverage leads to: messages or one error, and nothing else."""

from __future__ import annotations

import gc
import importlib.util
import os
import random
import resource
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from actors._extensions import not_loaded
from actors.transport import FrameError, Limits, TransportError, pair, register
from actors.transport.testing import ManualLoop, mutations
from tests.transport.fuzz import LIMIT, Corpus, Judge, Talk, corpus, framed, no_imports, pieces
from tests.transport.recording_channel import RecordingChannel
from tests.transport.sample_values import Registered

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "1000000"))
MINUTES = float(os.environ.get("FUZZ_MINUTES", "60"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or int.from_bytes(os.urandom(3))
STREAMS = 50_000
WEIGHED = 200
"""Copies of each talk whose memory is followed, which makes them slow."""
GROWTH = 64 << 20
COLLECTED = 5_000
"""After so many messages garbage is collected, so that the rest of what has grown is a leak."""
# What a damaged message had a socket in for is closed when the message is dropped.
pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600 + MINUTES * 60),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

register(Registered, lambda thing: thing.value, Registered)


def _say(line: str) -> None:
    print(f"\n{line}", end="", flush=True)  # noqa: T201 - a soak says what it has counted


def _resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_million_damaged_messages_give_messages_or_one_error() -> None:
    _say(f"FUZZ_SEED={SEED}")
    with corpus() as made, no_imports():
        judge = Judge(made)
        each = -(-MESSAGES // len(made.talks))
        read = sum(1 for _ in judge.damage(SEED, 10))
        before = _resident_peak()
        for _ in judge.damage(SEED + 1, each):
            read += 1
            if not read % COLLECTED:
                gc.collect()  # decoders are cycles, and what they hold is theirs
        grown = _resident_peak() - before
    _say(f"{read} damaged messages: {dict(judge.outcomes)}; links ended by {dict(judge.errors)}")
    _say(f"slowest {judge.slowest * 1e3:.0f} ms of processor time, grown by {grown >> 20} MiB")
    assert read >= MESSAGES
    assert min(judge.outcomes.values()) > MESSAGES / 20
    assert grown < GROWTH


def test_no_damaged_message_takes_more_memory_than_four_frames() -> None:
    most = (0, "")
    with corpus() as made:
        judge = Judge(made)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for talk in judge.damage(SEED, WEIGHED):
                now, peak = tracemalloc.get_traced_memory()
                most = max(most, (peak - before, talk.name))
                before = now
                tracemalloc.reset_peak()
        finally:
            tracemalloc.stop()
    _say(f"{judge.outcomes.total()} weighed: at most {most[0]} bytes, of {most[1]!r}")
    assert most[0] < 4 * LIMIT


def _conversation(made: Corpus, talk: Talk, chance: random.Random) -> bytes:
    """A stream that holds a talk between others, damaged."""
    others = [chance.choice(made.talks).body for _ in range(3)]
    stream = b"".join(framed(body) for body in (*talk.introductions, *others, talk.body))
    return next(mutations(stream, chance.getrandbits(30), 1))


def _over_a_socket(loop: ManualLoop, stream: bytes, chance: random.Random) -> str:
    ours, theirs = pair()
    end = RecordingChannel(loop, theirs, Limits(message=LIMIT))
    with ours:
        for piece in pieces(stream, chance):
            try:
                ours.send(piece)
            except BrokenPipeError:
                break
            loop.turn()
    loop.run_until(lambda: end.ends)
    end.channel.close()
    assert len(end.ends) == 1, "a link ends once"
    (error,) = end.ends
    assert isinstance(error, TransportError)
    # What a receiver raises becomes a FrameError too: there must be none of those here.
    cause = error.__cause__ if isinstance(error, FrameError) else None
    assert "the receiver failed" not in str(error), cause
    return type(error).__name__


def test_damaged_streams_over_sockets_end_their_link_by_one_error() -> None:
    chance = random.Random(SEED)
    outcomes: Counter[str] = Counter()
    loop = ManualLoop()
    with corpus() as made, no_imports():
        for _ in range(STREAMS):
            stream = _conversation(made, chance.choice(made.talks), chance)
            outcomes[_over_a_socket(loop, stream, chance)] += 1
    _say(f"{STREAMS} damaged streams over sockets: {dict(outcomes)}")
    assert set(outcomes) <= {"FrameError", "OutOfRange", "StaleLease", "ChannelBroken"}
    assert loop.watched == (frozenset(), frozenset())


@pytest.mark.parametrize("compiled", ["0", "1"], ids=["Python", "C"])
def test_what_coverage_leads_to_gives_messages_or_one_error(tmp_path: Path, compiled: str) -> None:
    if compiled == "1" and not_loaded():
        pytest.skip(not_loaded())
    if importlib.util.find_spec("atheris") is None:
        pytest.skip(
            "coverage-guided fuzzing needs atheris, which is not installed: pip install atheris"
        )
    # A process of its own: atheris changes the code it follows, and ends the process when it is done.
    command = [sys.executable, "-m", "tests.soak.guided_fuzzing", str(tmp_path), str(MINUTES * 30)]
    environment = os.environ | {"ACTORS_SPEEDUPS": compiled}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    _say("\n".join(line for line in lines if "Done" in line or ("cov:" in line and "DONE" in line)))
    assert done.returncode == 0, "\n".join(lines[-60:])
