"""A corpus of messages of every kind, attachments included, and a reader that judges what damaged ones do.

Nothing here measures or counts for itself; the ordinary suite reads some thousands, the soak a million.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from PIL import Image

from actors.transport import (
    Attachments,
    Buffer,
    Decoder,
    Encoder,
    Extra,
    FrameDecoder,
    FrameError,
    Lane,
    Mode,
    Prerequisite,
    SegmentMappings,
    SegmentPool,
    SharedBuffer,
    Thresholds,
    Undecodable,
    Undecoded,
    VersionSkew,
    encode_header,
    find_named,
    move,
    set_thread_pool,
)
from actors.transport.attachments.moved_stream import MovedStream, stream_from_socket
from actors.transport.testing import mutations
from actors.transport.wire.msgpack import UNPACK_ERRORS, ext, new_packer, new_unpacker
from tests.transport.sample_values import SAMPLES, Odd

LIMIT: Final = 1024 * 1024
"""The frame limit of the readers: small, so that a claim that was believed would show."""
PATIENCE: Final = 2.0
"""Seconds of processor time that no message of the corpus comes near."""
_BIG: Final = 64 * 1024


class Address:
    """What only a link knows, as refs are."""

    def __init__(self, number: Any) -> None:
        self.number = number


EXTRA: Final[Extra[Address]] = Extra(Address, lambda address: address.number, Address)


@dataclass(frozen=True)
class Talk:
    """One message as it goes over a new link.

    Attributes:
        name: what kind of value is in it.
        ahead: what has to come first; its descriptors are copied for each reader.
        introductions: bodies of the control lane.
        body: the one with the message.
    """

    name: str
    ahead: tuple[Prerequisite, ...]
    introductions: tuple[bytes, ...]
    body: bytes


class Corpus:
    """Talks, and the memory and descriptors that they speak of; close it."""

    def __init__(self) -> None:
        self._sizes = Thresholds(share=_BIG)
        self.pool = SegmentPool()
        set_thread_pool(self.pool)  # buffers begin their life in there
        self._kept: list[Any] = []
        self.talks = [self._talk(name, value) for name, value in SAMPLES.items()]
        self.talks += [self._talk(name, make()) for name, make in self._beside().items()]
        self.talks += [self._error(), *self._plain()]

    def close(self) -> None:
        """Let go of everything."""
        for talk in self.talks:
            for ahead in talk.ahead:
                for fd in ahead.fds:
                    os.close(fd)
        self._kept.clear()
        self.talks.clear()
        gc.collect()
        self.pool.close()
        set_thread_pool(None)

    def _beside(self) -> dict[str, Callable[[], Any]]:
        """What travels, or may travel, beside the frames."""
        grid = np.arange(_BIG, dtype="f4").reshape(256, 256)
        record = np.zeros(9, dtype=[("a", "i4"), ("b", "f8", (2,))])
        return {
            "leased bytes": lambda: bytes(_BIG),
            "leased bytearray": lambda: move(bytearray(_BIG)),
            "leased view": lambda: memoryview(bytes(_BIG)).cast("i", (128, 128)),
            "leased array": lambda: grid,
            "leased array in Fortran's order": lambda: np.asfortranarray(grid),
            "array": lambda: record,
            "small array": lambda: np.arange(6).reshape(2, 3),
            "buffer": lambda: Buffer(9),
            "leased buffer": lambda: Buffer(_BIG),
            "moved buffer": lambda: move(Buffer(_BIG)),
            "shared buffer": lambda: SharedBuffer(64),
            "socket": lambda: move(socket.socket(socket.AF_UNIX)),
            "stream": lambda: move(stream_from_socket(socket.socket(socket.AF_UNIX), b"unread")),
            "address": lambda: Address(7),
            "view": lambda: memoryview(b"abcdef").cast("H"),
            "partial": lambda: partial(np.arange, bytes(_BIG), dtype=np.float32),
            "table": lambda: pa.table({"a": ["x", None], "b": [[1], []]}),
            "data frame": lambda: pd.DataFrame({"a": [1], "b": ["x"], "c": pd.Categorical(["y"])}),
            "frame of polars": lambda: pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
            "image": lambda: Image.new("P", (3, 2)),
            "several": lambda: [bytes(_BIG), {"a": grid}, SharedBuffer(8), move(Buffer(_BIG))],
        }

    def _talk(self, name: str, value: Any) -> Talk:
        while True:
            attachments = Attachments(self.pool, SegmentMappings(), thresholds=self._sizes)
            attachments.open = True
            encoder = Encoder(extras=[EXTRA], attachments=attachments)
            field = encoder.encode_value(value)
            # Moved things go; what the frames of this talk speak of is lent for good.
            if not attachments.modes[Mode.COPY]:
                break  # all the memory it takes was warm
            attachments.transaction.undo()
            while self.pool.warm():
                pass
        ahead = tuple(attachments.transaction.prerequisites)
        attachments.transaction.prerequisites.clear()
        attachments.transaction.commit()
        self._kept += [attachments, value]
        encoder.pack([2, 77, "method", [field], {"keyword": 1}, 2.5])
        return self._taken(name, encoder, ahead)

    def _error(self) -> Talk:
        encoder = Encoder()
        error = Odd(1, hint="x")
        error.add_note("a note")
        error.__cause__ = ExceptionGroup("several", [ValueError("y"), KeyError(3)])
        encoder.pack([5, 3, encoder.encode_error(error)])
        return self._taken("error", encoder, ())

    def _plain(self) -> Iterator[Talk]:
        for message in (
            [10, 4, 5],
            [20, "note", [1, "a", None]],
            [23, [1, 2]],
            [22, [1, 0, 4096, 9]],
        ):
            encoder = Encoder()
            encoder.pack(message)
            yield self._taken("plain", encoder, ())

    def _taken(self, name: str, encoder: Encoder, ahead: tuple[Prerequisite, ...]) -> Talk:
        introductions = tuple(encoder.take(Lane.CONTROL))
        (body,) = encoder.take(Lane.DATA)
        return Talk(name, ahead, introductions, body)


@contextmanager
def corpus() -> Iterator[Corpus]:
    """Make a corpus and close it."""
    made = Corpus()
    try:
        yield made
    finally:
        made.close()
        gc.collect()  # a decoder is a cycle


class Importing(AssertionError):
    """Something was imported because bytes asked for it."""


@contextmanager
def no_imports() -> Iterator[None]:
    """Within the block nothing may be imported."""
    before = set(sys.modules)
    true = importlib.import_module

    def refuse(name: str, package: str | None = None) -> Any:
        raise Importing(f"import_module({name!r}, {package!r})")

    importlib.import_module = refuse
    try:
        yield
        assert set(sys.modules) == before
    finally:
        importlib.import_module = true


# What a value may be made of besides the classes that were introduced: modules that wire types are of.
_KNOWN: Final = frozenset(
    {
        "builtins", "collections", "datetime", "decimal", "pathlib", "pathlib._local", "socket", "uuid",
        "zoneinfo", "numpy", "types", "ipaddress", "actors.errors", "actors.transport.memory.buffer",
        "actors.transport.memory.shared_buffer", "actors.transport.codec.decoder",
        "actors.transport.types.exceptions", "actors.transport.attachments.moved_stream", __name__,
    }
)  # fmt: skip


_LIBRARIES: Final = ("pandas", "pyarrow", "polars", "PIL")


def _is_closed(part: Any) -> bool:
    """Whether what an object has inside is nobody's business."""
    return isinstance(part, Enum) or type(part).__module__.startswith(_LIBRARIES)


class Judge:
    """Reads damaged talks one by one and counts what becomes of them.

    Attributes:
        outcomes: how many were whole, held something undecoded, or ended the link.
        errors: how many ended it with which error.
        slowest: the most processor time one took, in seconds.
    """

    def __init__(self, of: Corpus) -> None:
        self._corpus = of
        self.outcomes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.slowest = 0.0

    def read(self, talk: Talk, introductions: Iterable[bytes], chunks: Iterable[bytes]) -> None:
        """Read the frames in *chunks* behind *introductions*, as a link does.

        Raises:
            AssertionError: something happened that no bytes may bring about.
        """
        start = time.thread_time()
        mappings = SegmentMappings()
        attachments = Attachments(self._corpus.pool, mappings)
        attachments.open = True
        resolved: set[Any] = set()
        try:
            outcome = self._read(attachments, resolved, talk, introductions, chunks)
        except FrameError as error:
            self.errors[type(error).__name__] += 1
            outcome = "ended"
        finally:
            attachments.close()
        self.outcomes[outcome] += 1
        took = time.thread_time() - start
        self.slowest = max(self.slowest, took)
        assert took < PATIENCE, f"{took} s for one message"

    def _read(
        self,
        attachments: Attachments,
        resolved: set[Any],
        talk: Talk,
        introductions: Iterable[bytes],
        chunks: Iterable[bytes],
    ) -> str:
        def resolve(module: str, qualname: str) -> Any:
            introduced = {(known.module, known.qualname) for known in decoder._introduced}
            assert (module, qualname) in introduced
            found = find_named(module, qualname)
            resolved.add(found)
            return found

        decoder = Decoder(extras=[EXTRA], resolve=resolve, limit=LIMIT, attachments=attachments)
        for body in introductions:
            decoder.feed(body)
        for op, numbers, fds in talk.ahead:
            attachments.receive_prerequisite(op, list(numbers), [os.dup(fd) for fd in fds])
        frames = FrameDecoder(LIMIT)
        outcome = "whole"
        for chunk in chunks:
            for frame in frames.feed(chunk):
                for message in decoder.feed(frame.body):
                    assert type(message) is list
                    assert type(message[0]) is int
                    assert message[0] > 0
                    if self._check(message, resolved):
                        outcome = "undecoded"
                        attachments.close_unclaimed_fds()
        return outcome

    def _check(self, message: list[Any], resolved: set[Any]) -> bool:
        """Whether anything is undecoded; everything else is of a class that may be there."""
        undecoded = False
        waiting: list[Any] = [message]
        while waiting:
            part = waiting.pop()
            cls = type(part)
            if cls is Undecoded:
                undecoded = True
                assert type(part.error) in (Undecodable, VersionSkew)
                continue
            known = cls.__module__ in _KNOWN or cls in resolved
            assert known, f"a {cls.__module__}.{cls.__qualname__} that was not introduced"
            if isinstance(part, dict):
                waiting += [*part, *part.values()]
            elif isinstance(part, list | tuple | set | frozenset) or cls.__name__ == "deque":
                waiting += part
            elif cls in resolved and hasattr(part, "__dict__") and not _is_closed(part):
                waiting += part.__dict__.values()
            elif cls is socket.socket:
                part.close()
            elif isinstance(part, MovedStream):
                part._sock.close()
        return undecoded

    # -- damage ----------------------------------------------------------------------------------

    def damage(self, seed: int, each: int) -> Iterator[Talk]:
        """Read *each* damaged copies of every talk, and yield the talk after each one."""
        chance = random.Random(seed)
        parts = [message for talk in self._corpus.talks for message in unpacked(talk.body)]
        for number, talk in enumerate(self._corpus.talks):
            for body in mutations(talk.body, seed * 1000 + number, each):
                self.read(talk, *self._sent(talk, body, chance, parts))
                yield talk

    def _sent(
        self, talk: Talk, body: bytes, chance: random.Random, parts: list[Any]
    ) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """What is sent of a talk and its damaged body; a sound frame around it gets furthest."""
        kind = chance.randrange(10)
        introductions = talk.introductions
        if kind == 0 and introductions:
            bad = next(mutations(introductions[0], chance.getrandbits(30), 1))
            return (bad,), (framed(talk.body),)
        if kind == 1:
            (stream,) = mutations(framed(body) + framed(talk.body), chance.getrandbits(30), 1)
            return introductions, list(pieces(stream, chance))
        if kind == 2:
            return introductions, (framed(body), framed(talk.body))
        if kind == 3:
            return introductions, (framed(body),)
        messages = [rebuilt(message, chance, parts) for message in unpacked(talk.body)]
        return introductions, (framed(b"".join(map(_PACK, messages))),)


def _other(value: Any) -> Any:
    raise ValueError(f"{value!r:.80} cannot be packed")


_PACK: Final = new_packer(_other, lenient=True)
_ODD: Final[list[Any]] = [
    None, True, 0, 1, -1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1, 0.0, float("nan"), float("inf"),
    "", "x", "\0", "é" * 9, b"", b"\0", bytes(64), [], {}, [[]], [None] * 9, {"a": 1}, "os", "system",
    "O", "V8", "<U0", [["a", "O"]], ext((25, b"\x90")), ext((127, b"")),
]  # fmt: skip


def unpacked(body: bytes) -> list[Any]:
    """The messages of a body, with extensions as they are."""
    unpacker = new_unpacker(LIMIT, lambda tag, data: ext((tag, data)))
    unpacker.feed(body)
    return list(unpacker)


def rebuilt(value: Any, chance: random.Random, parts: list[Any]) -> Any:
    """The value with something in it replaced, taken out, doubled or put in, at any depth."""
    if chance.randrange(8) == 0:
        return chance.choice(_ODD if chance.randrange(3) else parts)
    if type(value) is list and value:
        deep = [at for at, item in enumerate(value) if isinstance(item, list | tuple)]
        at = chance.choice(deep) if deep and chance.randrange(4) else chance.randrange(len(value))
        some = [*value[:at], rebuilt(value[at], chance, parts), *value[at + 1 :]]
        match chance.randrange(10):
            case 0:
                del some[at]
            case 1:
                some.insert(at, some[at])
        return some
    if type(value) is dict and value:
        key = chance.choice([*value])
        return {**value, key: rebuilt(value[key], chance, parts)}
    if isinstance(value, tuple):
        return _rebuilt_extension(value, chance, parts)
    if type(value) is bytes and value:
        return next(mutations(value, chance.getrandbits(30), 1))
    return chance.choice(_ODD)


def _rebuilt_extension(value: Any, chance: random.Random, parts: list[Any]) -> Any:
    tag, data = value
    if chance.randrange(8) == 0:
        tag = chance.choice([*range(1, 28), 64, 65, 100])
    try:
        (inside,) = unpacked(data)
    except (*UNPACK_ERRORS, ValueError):
        return ext((tag, next(mutations(data, chance.getrandbits(30), 1))))
    return ext((tag, _PACK(rebuilt(inside, chance, parts))))


def framed(body: bytes, lane: Lane = Lane.DATA) -> bytes:
    """The body as a frame."""
    return encode_header(lane, 0, len(body)) + body


def pieces(stream: bytes, chance: random.Random) -> Iterator[bytes]:
    """The stream as it may come out of a socket."""
    at = 0
    while at < len(stream):
        size = chance.randint(1, len(stream))
        yield stream[at : at + size]
        at += size
