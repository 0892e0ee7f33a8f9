"""What an application file may have: the keys of the constructors, and one error for everything else."""

from __future__ import annotations

import inspect
import tomllib
from typing import Any

import pytest

import actors
from actors._system.admin_spec import Admin
from actors._system.application import BadField, build
from actors._system.application.tables import sections, single_tables
from actors._system.cpu_budget import usable_cpus
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


WRONG = {
    "[node.web]": "node: there is no such table; did you mean 'nodes'?",
    "nodes = 1": "nodes: must be tables with names, such as [nodes.web]",
    "[nodes]\nweb = 1": "nodes.web: must be a table, got 1",
    "[nodes.'']": "nodes.: a name has a letter at least",
    "[nodes.'a b']": "nodes.a b: a group of nodes is named with letters, digits, - and _; got 'a b'",
    "[nodes.web]\ncuont = 1": "nodes.web.cuont: there is no such key; did you mean 'count'?",
    "[nodes.web]\ncount = 0": "nodes.web.count: must be 1 to 1024, got 0",
    "[nodes.web]\ncount = true": "nodes.web.count: must be a whole number, or 'max', got True",
    "[nodes.web]\nshutdown = 'x'": "nodes.web.shutdown: must be a number, got 'x'",
    "[nodes.web]\nshutdown = inf": "nodes.web.shutdown: must be a number, got inf",
    "[nodes.web]\nshutdown = nan": "nodes.web.shutdown: must be a number, got nan",
    "[nodes.web]\nuvloop = 'yes'": "nodes.web.uvloop: must be true or false, got 'yes'",
    "[nodes.web]\nmax_rss = '5 apples'": "nodes.web.max_rss: must be bytes, or text such as '512 MiB', "
    "got '5 apples'",
    "[nodes.web]\nkind = 'thred'": "nodes.web.kind: must be 'process', 'thread' or 'interpreter', got 'thred'; "
    "did you mean 'thread'?",
    "[nodes.web]\nenv = { A = 1 }": "nodes.web.env.A: must be text, got 1",
    "[nodes.web]\npreload = ['a b']": "nodes.web.preload: preload has names of modules such as 'pkg.model', got 'a b'",
    "[nodes.web]\nbackoff = { first = -1 }": "nodes.web.backoff.first: must be 0 or more seconds, got -1",
    "[nodes.web]\nbackoff = { frist = 1 }": "nodes.web.backoff.frist: there is no such key; did you mean 'first'?",
    "[system]\nbudget = { restarts = -1 }": "system.budget.restarts: must be a whole number, 0 or more, got -1",
    "[system]\npatience = -1": "system.patience: must be 0 or more seconds, got -1",
    "[children.a]\nargs = [1]": "children.a: the key 'class' is missing",
    "[children.a]\nclass = 'shop.Counter'": "children.a.class: must be an import path such as "
    "'shop.actors:Counter', got 'shop.Counter'",
    "[children.a]\nclass = 'm:A'\non = 'web'": "children.a.on: there is no group 'web'; the groups are none",
    "[nodes.web]\n[children.a]\nclass = 'm:A'\non = 'wbe'": "children.a.on: there is no group 'wbe'; the groups are "
    "'web'; did you mean 'web'?",
    "[nodes.web]\n[children.a]\nclass = 'm:A'\non = 'web/1'": "children.a.on: there is no node 'web/1': 'web' has 1",
    "[nodes.web]\n[children.a]\nclass = 'm:A'\non = 'web/x'": "children.a.on: must be a group, or a node such as "
    "'web/0', got 'web/x'",
    "[children.a]\nclass = 'm:A'\nargs = [1979-05-27]": "children.a.args.0: must be text, a number, true or false, a "
    "list or a table, got datetime.date(1979, 5, 27)",
    "[children.a]\nclass = 'm:A'\nunder = 'b'": "children.a.under: there is no supervisor 'b'; there are none",
    "[children.a]\nclass = 'm:A'\n[keyed.a]\nclass = 'm:A'": "children.a: keyed.a has that name already; names are "
    "unique",
    "[supervisors.s]\nunder = 't'\n[supervisors.t]\nunder = 's'": "supervisors.s.under: 's' is below itself",
    "[supervisors.s]\ndynamic = true\n[children.a]\nclass = 'm:A'\nunder = 's'": "children.a.under: 's' is dynamic: "
    "its children are added while it runs",
    "[supervisors.s]\nmax_children = 1": "supervisors.s.max_children: max_children goes with dynamic = true",
    "[supervisors.s]\ndynamic = true\nstrategy = 'one_for_all'": "supervisors.s.strategy: strategy is of a supervisor that is "
    "not dynamic",
    "[supervisors.s]\n[children.a]\nclass = 'm:A'\nunder = 's'\nsignificant = true\nrestart = 'transient'": "supervisors."
    "s.auto_shutdown: child 'a' is significant, which needs an auto_shutdown other than NEVER",
    "[nodes.p]\n[pools.p]\nsize = 1": "pools.p: nodes.p has the name that the nodes of this pool have",
    "[pools.p]\nargs = [1]": "pools.p.args: args and kwargs are of a class, and there is none",
    "[pools.p]\nmin = 3\nmax = 2": "pools.p.min: min=3 is more than max=2",
    "[nodes.web]\n[listeners.l]": "listeners.l: either app or handler must be given",
    "[nodes.web]\n[listeners.l]\nhandler = 'm:h'\nhttp2 = true": "listeners.l.http2: http2 is of an app, and a handler has "
    "none",
    "[nodes.web]\n[listeners.l]\napp = 'm:a'\npolicy = 'sticky=cokie:a'": "listeners.l.policy: a sticky key is ",
    "[nodes.web]\n[listeners.l]\napp = 'm:a'\nsticky = 'ip'\npolicy = 'round-robin'": "listeners.l.policy: policy and sticky are "
    "two ways to say the same: give one of them",
    "[nodes.web]\n[listeners.l]\napp = 'm:a'\naddress = 'x'": "listeners.l.address: ",
    "[listeners.l]\napp = 'm:a'": "listeners.l.nodes: there is no group 'web'; the groups are none",
    "[nodes.web]\n[listeners.l]\napp = 'm:a'\n[listeners.m]\napp = 'm:a'\naddress = '0.0.0.0:8000'": "listeners.m.address: "
    "0.0.0.0:8000 is the address of listeners.l.address already",
    "[nodes.web]\n[listeners.l]\napp = 'm:a'\n[admin]\naddress = '127.0.0.1:8000'": "admin.address: 127.0.0.1:8000 is the "
    "address of listeners.l.address already",
    "[admin]\naddress = '0.0.0.0:9000'": "admin.address: ",
    "[admin]\naddress = 'x'": "admin.address: ",
    "[log]\nlevel = 'loud'": "log.level: must be 'debug', 'info', 'warning' or 'error', got 'loud'",
    "[nodes.admin]\n[admin]\naddress = '127.0.0.1:9000'": "system: 'admin' is the group of admin=",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_one_error_with_its_path(text: str) -> None:
    with pytest.raises(BadField) as caught:
        build(tomllib.loads(text))
    expected = WRONG[text]
    said = str(caught.value)
    assert said == expected or (expected.endswith(("=", ": ", "is ")) and said.startswith(expected))


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
