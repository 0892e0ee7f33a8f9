"""The chat's history: numbered without gaps, each message once, and there after a crash."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeAlias

import pytest

from examples.chat._store import Said, Store

ROOT = Path(__file__).resolve().parents[2]

TALK_FOREVER = """
import itertools, sys
from examples.chat._store import Store
with Store(sys.argv[1]) as store:
    for n in itertools.count():
        said, _ = store.append("lobby", f"{sys.argv[2]}-{n}", sys.argv[2], f"message {n}")
        print(said.seq, said.id, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path, now=lambda: 1.5) as store:
        yield store


StartTalking: TypeAlias = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start_talking(path: Path) -> Iterator[StartTalking]:
    """Start processes that write until they are killed, and see to it that they are."""
    with ExitStack() as talkers:

        def start(name: str) -> subprocess.Popen[str]:
            talker = talkers.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TALK_FOREVER, str(path), name],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            talkers.callback(talker.kill)
            return talker

        yield start


def acknowledged(talker: subprocess.Popen[str]) -> tuple[int, str]:
    assert talker.stdout is not None
    seq, id_ = talker.stdout.readline().split()
    return int(seq), id_


def kill(talker: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """Kill without notice; return what was acknowledged and not read yet."""
    talker.send_signal(signal.SIGKILL)
    rest, _ = talker.communicate()
    whole = rest[: rest.rfind("\n") + 1]
    return [(int(seq), id_) for seq, id_ in (line.split() for line in whole.splitlines())]


def test_a_new_room_has_said_nothing(store: Store) -> None:
    assert store.last_seq("lobby") == 0
    assert store.last("lobby", 50) == []
    assert store.after("lobby", 0, 50) == []


def test_an_appended_message_comes_back_as_stored(store: Store) -> None:
    said, new = store.append("lobby", "a1", "Ada", "hello")

    assert (said, new) == (Said(seq=1, id="a1", name="Ada", text="hello", at=1.5), True)
    assert store.last("lobby", 50) == [said]


def test_each_room_counts_for_itself_from_one_and_without_gaps(store: Store) -> None:
    for n in range(3):
        store.append("lobby", f"a{n}", "Ada", "hello")
    store.append("attic", "a0", "Ada", "boo")

    assert [said.seq for said in store.last("lobby", 50)] == [1, 2, 3]
    assert store.last_seq("lobby") == 3
    assert store.last_seq("attic") == 1


def test_the_same_id_again_changes_nothing_and_returns_the_first(store: Store) -> None:
    first, _ = store.append("lobby", "a1", "Ada", "hello")
    store.append("lobby", "b1", "Bob", "hi")

    assert store.append("lobby", "a1", "Ada", "hello, edited") == (first, False)
    assert store.last_seq("lobby") == 2


def test_messages_without_an_id_are_all_new(store: Store) -> None:
    store.append("lobby", None, "Ada", "hello")
    store.append("lobby", None, "Ada", "hello")

    assert store.last_seq("lobby") == 2


def test_after_continues_where_a_client_stopped(store: Store) -> None:
    for n in range(5):
        store.append("lobby", f"a{n}", "Ada", str(n))

    assert [said.seq for said in store.after("lobby", 2, 50)] == [3, 4, 5]
    assert [said.seq for said in store.after("lobby", 2, 2)] == [3, 4]
    assert store.after("lobby", 99, 50) == []


def test_last_gives_the_newest_oldest_first(store: Store) -> None:
    for n in range(5):
        store.append("lobby", f"a{n}", "Ada", str(n))

    assert [said.seq for said in store.last("lobby", 2)] == [4, 5]


@pytest.mark.parametrize(
    "text", ["", "Zoë 👩‍👩‍👧 שלום", "nul\0inside", "x" * 100_000, "'); DROP TABLE said"]
)
def test_any_text_comes_back_whole(store: Store, text: str) -> None:
    store.append(text, text, text, text)

    said = store.last(text, 1)[0]
    assert (said.id, said.name, said.text) == (text, text, text)


def test_half_a_surrogate_pair_is_refused_and_changes_nothing(store: Store) -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        store.append("lobby", "a1", "Ada", "\ud83d")

    assert store.last_seq("lobby") == 0
    assert store.append("lobby", "a1", "Ada", "hello")[1]


def test_history_is_there_after_closing_and_opening_again(path: Path) -> None:
    with Store(path) as store:
        store.append("lobby", "a1", "Ada", "hello")

    with Store(path) as store:
        assert [said.text for said in store.last("lobby", 50)] == ["hello"]


def test_a_closed_store_says_what_to_do(path: Path) -> None:
    store = Store(path)

    with pytest.raises(RuntimeError, match=r"chat\.sqlite3 is not open: call open\(\) first"):
        store.last_seq("lobby")


def test_opening_twice_is_an_error_and_closing_twice_is_not(store: Store) -> None:
    with pytest.raises(RuntimeError, match="already open"):
        store.open()
    store.close()
    store.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, but somebody's letter" * 100)

    with pytest.raises(sqlite3.DatabaseError, match="file is not a database"):
        Store(path).open()
    assert path.read_bytes().startswith(b"not a database")


def test_calls_may_come_from_different_threads(store: Store) -> None:
    for n in range(3):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(store.append, "lobby", f"a{n}", "Ada", "hello").result()

    assert store.last_seq("lobby") == 3


def test_many_may_open_a_new_file_at_once(path: Path) -> None:
    def say(name: str) -> int:
        with Store(path) as store:
            return store.append("lobby", name, name, "first!")[0].seq

    with ThreadPoolExecutor(8) as pool:
        seqs = list(pool.map(say, "abcdefgh"))

    assert sorted(seqs) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_what_was_acknowledged_survives_kill_9(path: Path, start_talking: StartTalking) -> None:
    talker = start_talking("Ada")
    seen = [acknowledged(talker) for _ in range(200)]
    seen += kill(talker)

    with Store(path) as store:
        kept = [(said.seq, said.id) for said in store.after("lobby", 0, 1_000_000)]
        assert kept[: len(seen)] == seen
        assert [seq for seq, _ in kept] == list(range(1, len(kept) + 1))
        # The last may be written and not acknowledged; saying it again is safe.
        again, new = store.append("lobby", kept[-1][1], "Ada", "again")
        assert (again.seq, new) == (len(kept), False)


def test_a_killed_writer_leaves_no_lock_to_the_next(
    path: Path, start_talking: StartTalking
) -> None:
    first, second = start_talking("Ada"), start_talking("Bob")
    before = [acknowledged(first), acknowledged(second)]
    before += kill(first)
    behind = max(seq for seq, _ in before)
    while (latest := acknowledged(second))[0] <= behind:
        before.append(latest)
    before += kill(second)

    with Store(path) as store:
        kept = store.after("lobby", 0, 1_000_000)
    assert [said.seq for said in kept] == list(range(1, len(kept) + 1))
    assert len({said.id for said in kept}) == len(kept)
    assert {(said.seq, said.id) for said in kept} >= {*before, latest}


def test_a_file_from_before_private_messages_goes_on(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.execute(
            "CREATE TABLE said (room TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT, name TEXT NOT NULL,"
            " text TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (room, seq), UNIQUE (room, id))"
            " WITHOUT ROWID"
        )
        old.execute("INSERT INTO said VALUES ('lobby', 1, 'a', 'ann', 'hello', 1.0)")
        old.commit()
    for _ in range(2):
        with Store(path, now=lambda: 2.5) as store:
            store.append("lobby", "b", "bob", "psst", "ann")
            assert store.last("lobby", 9) == [
                Said(1, "a", "ann", "hello", 1.0),
                Said(2, "b", "bob", "psst", 2.5, "ann"),
            ]
