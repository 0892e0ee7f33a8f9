"""Twelve thousand damaged messages of every kind give messages or one error; the soak reads a million."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.transport.fuzz import LIMIT, Judge, corpus, framed, no_imports

EACH = 200

# The socket of a message that is broken elsewhere is closed when the message is dropped.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def test_every_talk_of_the_corpus_is_whole_before_it_is_damaged() -> None:
    with corpus() as made:
        for talk in made.talks:
            judge = Judge(made)
            judge.read(talk, talk.introductions, [framed(talk.body)])
            assert judge.outcomes == {"whole": 1}, talk.name


def test_damaged_messages_give_messages_or_one_error() -> None:
    with corpus() as made, no_imports():
        judge = Judge(made)
        read = sum(1 for _ in judge.damage(seed=1, each=EACH))
        assert read >= 10_000
        assert min(judge.outcomes[kind] for kind in ("whole", "undecoded", "ended")) > 500
        assert {"FrameError", "OutOfRange", "StaleLease"} <= set(judge.errors)


def test_no_damaged_message_takes_more_memory_than_four_frames() -> None:
    with corpus() as made:
        judge = Judge(made)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for talk in judge.damage(seed=2, each=10):
                now, peak = tracemalloc.get_traced_memory()
                assert peak - before < 4 * LIMIT, talk.name
                before = now
                tracemalloc.reset_peak()
        finally:
            tracemalloc.stop()
