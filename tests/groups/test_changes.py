"""What a reader has still to be told: never more than the difference to what it knows."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from actors._groups.changes import MemberChange, MemberChanges

REFS = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), REFS, st.integers(0, 2)),
        st.tuples(st.just("leave"), REFS, st.none()),
        st.tuples(st.just("read"), st.none(), st.none()),
    ),
    max_size=60,
)


class Reader:
    """Knows what it has read."""

    def __init__(self) -> None:
        self.changes = MemberChanges()
        self.knows: dict[Any, Any] = {}

    def read(self) -> None:
        change = self.changes.take()
        if change.joined:
            assert self.knows.get(change.ref, "nothing") != change.meta  # it is news
            self.knows[change.ref] = change.meta
        else:
            assert self.knows.pop(change.ref) == change.meta


@given(STEPS)
def test_a_reader_that_has_read_everything_knows_the_members_whatever_it_missed(
    steps: list[Any],
) -> None:
    members: dict[Any, Any] = {}
    reader = Reader()
    changes = reader.changes
    for what, ref, meta in steps:
        if what == "join":
            members[ref] = meta
            changes.put(MemberChange(ref, joined=True, meta=meta))
        elif what == "leave" and ref in members:
            del members[ref]
            changes.put(MemberChange(ref, joined=False))
        elif what == "read" and changes:
            reader.read()
        assert len(changes._news) <= len({*members, *changes.told})
    while changes:
        reader.read()

    assert reader.knows == members == changes.told
