"""Twelve thousand damaged messages of every kind give messages or one error; the soak reads a million."""

from __future__ import annotations

import gc
import os
import tracemalloc
from weakref import ref

import pytest

from actors.transport import Attachments, Decoder, FrameError, SegmentMappings, SegmentPool, pair
from tests.transport.fuzz import LIMIT, Judge, corpus, framed, no_imports
from tests.transport.sample_values import open_fds

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


def test_a_message_of_a_negative_kind_is_none() -> None:
    for body in (b"\x91\xff", b"\x91\x01\x91\xff"):
        with pytest.raises(FrameError, match="not a list that starts with its kind"):
            Decoder().feed(body)


def test_a_timestamp_of_msgpack_is_a_plain_number() -> None:
    assert Decoder().feed(b"\x92\x01\xd6\xff\x00\x00\x00\x02") == [[1, 2.0]]


def test_descriptors_that_become_no_socket_are_closed() -> None:
    before = open_fds()
    for family, timeout in ((2**40, 1.0), (1, 1e300)):
        ours, theirs = pair()
        with ours, theirs:
            attachments = Attachments(SegmentPool(), SegmentMappings())
            attachments.receive_prerequisite("fds", [1], [os.dup(theirs.fileno())])
            with pytest.raises(FrameError, match=r"not the socket it claims|cannot have a timeout"):
                attachments.decode([10, 1, family, 1, 0, timeout])
    assert open_fds() == before


def test_a_decoder_that_gave_up_on_a_cut_message_can_be_collected() -> None:
    unknown = b"\xd4\x7f\x00"
    decoder = Decoder()
    with pytest.raises(FrameError, match="OutOfData"):
        decoder.feed(b"\x93\x01\x92" + unknown)
    gone = ref(decoder)
    del decoder
    gc.collect()
    assert gone() is None
