"""Whatever is lent, given back, moved, dropped, warmed, trimmed and killed: nobody's bytes change."""

from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.transport import Buffer, SegmentPool, set_thread_pool
from tests.transport.shared_memory import KIB, MIB, PeerLinks, pattern

PEERS = ("a", "b", "c")
LIMIT = 2 * MIB
sizes = st.integers(1, 300 * KIB)
peers = st.sampled_from(PEERS)


class Lending(RuleBasedStateMachine):
    """One owner, three peers; each live view is remembered with what has to be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = SegmentPool(limit=LIMIT, per_peer=MIB)
        set_thread_pool(self.pool)
        self.links = PeerLinks(self.pool)
        self.lives = dict.fromkeys(PEERS, 0)
        self.views: list[tuple[Any, memoryview, bytes]] = []
        self.buffers: list[tuple[Any, Buffer, bytes]] = []
        self.count = 0

    def _peer(self, name: str) -> tuple[str, int]:
        return name, self.lives[name]

    def _data(self, size: int) -> bytes:
        self.count += 1
        return pattern(size, self.count)

    @rule(size=sizes, name=peers, cold=st.booleans())
    def lend(self, size: int, name: str, cold: bool) -> None:
        peer, data = self._peer(name), self._data(size)
        lease = self.pool.lease(memoryview(data), peer, cold=cold)
        if lease is not None:
            self.links.introduce(peer, lease.introduction)
            view = self.links.at(peer).open("owner", list(lease.descriptor))
            self.views.append((peer, view, data))

    @rule(size=sizes, name=peers)
    def lend_and_think_better_of_it(self, size: int, name: str) -> None:
        lease = self.pool.lease(memoryview(self._data(size)), self._peer(name), cold=True)
        if lease is not None:
            self.pool.cancel(lease, self._peer(name))

    @rule(at=st.integers(0, 99))
    def end_a_view(self, at: int) -> None:
        if self.views:
            self.views.pop(at % len(self.views))

    @rule(size=sizes)
    def make_a_buffer(self, size: int) -> None:
        buffer = Buffer(size)
        assert bytes(buffer) == bytes(size)
        buffer[:] = data = self._data(size)
        self.buffers.append((None, buffer, data))

    @rule(at=st.integers(0, 99))
    def drop_a_buffer(self, at: int) -> None:
        if self.buffers:
            self.buffers.pop(at % len(self.buffers))

    @rule(at=st.integers(0, 99), name=peers)
    def move_a_buffer(self, at: int, name: str) -> None:
        if not self.buffers:
            return
        holder, buffer, data = self.buffers.pop(at % len(self.buffers))
        if holder is None:
            peer = self._peer(name)
            lease = buffer.lease_to(self.pool, peer)
            if lease is None:
                return
            self.links.introduce(peer, lease.introduction)
            there = Buffer.from_lease(self.links.at(peer), "owner", list(lease.descriptor))
            self.buffers.append((peer, there, data))
        else:
            back = buffer.return_to(self.links.at(holder), "owner")
            assert back is not None
            self.buffers.append((None, Buffer.from_return(self.pool, holder, list(back)), data))

    @rule()
    def release(self) -> None:
        self.links.settle()

    @rule(name=peers)
    def kill(self, name: str) -> None:
        peer = self._peer(name)
        self.views = [one for one in self.views if one[0] != peer]
        self.buffers = [one for one in self.buffers if one[0] != peer]
        self.links.mappings.pop(peer, None)
        self.pool.reclaim(peer)
        self.lives[name] += 1

    @rule(budget=st.integers(1, MIB))
    def warm(self, budget: int) -> None:
        self.pool.warm(budget)

    @rule(budget=st.integers(1, 4 * MIB))
    def trim(self, budget: int) -> None:
        self.pool.trim(budget)
        for peer, mappings in self.links.mappings.items():
            mappings.retire("owner", self.pool.take_retired(peer))

    @invariant()
    def nobodys_bytes_change(self) -> None:
        assert all(bytes(view) == data for _, view, data in self.views)
        assert all(bytes(buffer) == data for _, buffer, data in self.buffers)

    @invariant()
    def the_book_is_right(self) -> None:
        stats = self.pool.stats()
        slots = [slot for segment in self.pool._slots.segments.values() for slot in segment.slots]
        assert stats.resident == sum(slot.warm for slot in slots) <= LIMIT
        assert stats.held == sum(slot.warm for slot in slots if slot.holder is not None)
        assert stats.buffers == sum(slot.holder == "here" for slot in slots)
        assert stats.leases >= len(self.views) + sum(one[0] is not None for one in self.buffers)

    def teardown(self) -> None:
        self.views.clear()
        self.buffers.clear()
        self.links.settle()
        stats = self.pool.stats()
        assert (stats.leases, stats.buffers, stats.held) == (0, 0, 0)
        self.links.close()
        self.pool.close()
        set_thread_pool(None)


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
