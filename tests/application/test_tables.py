"""What an application file may have: the keys of the constructors, and one error for everything else."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

import actors
from actors._base.cpus import usable_cpus
from actors._system.admin_spec import Admin
from actors._system.application import BadField, build
from actors._system.application.tables import sections, single_tables
from actors._system.keyed_spec import keyed
from actors._system.pool_spec import pool
from actors._system.tree_specs import child, supervisor
from actors.nodes import nodes
from actors.routing import Asgi, Sticky, listen

WHOLE = """
[system]
patience = 2.5
budget = { restarts = 5, within = 10 }
largest = "2 GiB"

[nodes.web]
count = "max"
max_rss = "512 MiB"
env = { MODE = "x" }
hang_after = false
backoff = { first = 0.5 }

[nodes.back]
kind = "thread"

[supervisors.guests]
strategy = "one_for_all"

[supervisors.visits]
dynamic = true
max_children = 5
under = "guests"

[children.counter]
class = "tests.application.parts:Counter"
args = [1]
kwargs = { step = 2 }
on = "back"
under = "guests"
mailbox = { messages = 5, bytes = "1 MiB" }
restart = "transient"

[pools.work]
min = 1
max = 2
idle = 3

[keyed.room]
class = "tests.application.parts:Room"
kwargs = { path = "y" }
on = "web"

[listeners.http]
app = "shop:app"
address = "127.0.0.1:8000"
sticky = "cookie:sid"
sticky_learn = 0
headers = { x-a = "b" }
max_connections = [1, 2]
ws_ping_interval = false

[admin]
address = "127.0.0.1:9000"
hosts = ["shop.example"]

[log]
level = "warning"
"""


def test_a_file_is_the_topology_that_a_program_would_write() -> None:
    made = build(tomllib.loads(WHOLE)).topology

    assert list(made.nodes) == [
        actors.nodes(
            "web",
            count=usable_cpus(),
            max_rss=2**29,
            env={"MODE": "x"},
            hang_after=None,
            backoff=actors.Backoff(first=0.5),
        ),
        actors.nodes("back", kind="thread"),
    ]
    assert (made.patience, made.budget, made.largest) == (2.5, actors.Budget(5, 10), 2**31)
    assert made.admin == Admin("127.0.0.1:9000", hosts=("shop.example",))
    (http,) = made.listeners
    assert http == listen(
        Asgi(app="shop:app", headers=(("x-a", "b"),), ws_ping_interval=None),
        "127.0.0.1:8000",
        policy=Sticky(actors.keys.cookie("sid"), learn=0),
        max_connections=(1, 2),
        name="http",
    )
    guests, work, room = made.children
    assert [inner.name for inner in guests.children] == ["visits", "counter"]  # type: ignore[union-attr] # a supervisor
    assert work == pool(name="work", min=1, max=2, idle=3)
    assert (room.name, room.path, room.arguments) == (  # type: ignore[union-attr] # a book
        "room",
        "tests.application.parts:Room",
        ((), {"path": "y"}),
    )


def test_what_was_checked_makes_the_same_again() -> None:
    application = build(tomllib.loads(WHOLE))
    assert build(application.tables, application.order) == application


@pytest.mark.parametrize(
    "table, made_by, not_there",
    [
        ("nodes", nodes, {"name"}),
        ("pools", pool, {"cls", "args", "name", "init"}),
        ("keyed", keyed, {"cls", "name"}),
        ("children", child, {"cls", "args", "name"}),
        ("supervisors", supervisor, {"name", "children"}),
        ("listeners", listen, {"handler", "name"}),
        ("listeners", Asgi, set()),
    ],
)
def test_a_table_has_each_keyword_of_its_constructor_with_a_meaning(
    table: str, made_by: Any, not_there: set[str]
) -> None:
    record = sections()[table].record
    keywords = set(inspect.signature(made_by).parameters) - not_there
    assert keywords <= record.keys.keys()
    if made_by is not Asgi:  # whose own docstrings leave out what its names say
        assert keywords <= record.docs().keys()


def test_the_order_of_the_file_is_that_of_the_starts() -> None:
    tables = tomllib.loads(
        "[children.a]\nclass='m:A'\n[pools.b]\nsize=1\n[children.c]\nclass='m:A'"
    )
    order = [("children", "a"), ("pools", "b"), ("children", "c")]
    assert [item.name for item in build(tables, order).topology.children] == ["a", "b", "c"]
    assert [item.name for item in build(tables).topology.children] == ["b", "a", "c"]


def wrong_files() -> list[tuple[str, str]]:
    """Return files that are wrong, each with what is said of it."""
    blocks = (Path(__file__).parent / "wrong_files.txt").read_text(encoding="utf-8")
    found = [block.strip("\n").rpartition("\n→ ") for block in blocks.split("\n\n")]
    return [(text, said) for text, _, said in found]


@pytest.mark.parametrize("text, expected", wrong_files())
def test_what_is_wrong_is_one_error_with_its_path(text: str, expected: str) -> None:
    with pytest.raises(BadField) as caught:
        build(tomllib.loads(text))
    said = str(caught.value)
    begins = expected.endswith("…") and said.startswith(expected.removesuffix("…"))
    assert begins or said == expected


def test_addresses_that_do_not_overlap_are_fine() -> None:
    text = """
    [nodes.web]
    [listeners.a]
    app = 'm:a'
    address = '127.0.0.1:0'
    [listeners.b]
    app = 'm:a'
    address = '127.0.0.1:0'
    [listeners.c]
    handler = 'm:h'
    address = 'udp://127.0.0.1:5353'
    [listeners.d]
    app = 'm:a'
    address = '127.0.0.1:5353'
    [listeners.e]
    app = 'm:a'
    address = '127.0.0.2:5353'
    """
    assert len(build(tomllib.loads(text)).topology.listeners) == 5


def test_there_is_a_schema_for_each_table() -> None:
    for record in [*single_tables().values(), *(one.record for one in sections().values())]:
        assert record.schema()["additionalProperties"] is False
