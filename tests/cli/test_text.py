"""What the commands print about facts: pure, text from data."""

from typing import Any

import pytest

from actors.cli.client.text import (
    ASCII,
    UNICODE,
    as_event,
    as_stacks,
    as_status,
    as_top,
    as_tree,
    line_drawing,
)


def node(**facts: object) -> dict[str, Any]:
    known = {"name": "web/0", "kind": "process", "state": "READY", "pid": 7, "restarts": 0}
    figures = {"rss": 1_572_864, "cpu": 0.125, "lag": 0.00125, "actors": 3, "rate": 10.0}
    return {**known, "answering": True, "blocked": None, **figures, **facts}


def actor(**facts: object) -> dict[str, Any]:
    known = {"name": "ann", "class": "shop:Cart", "node": "web/0", "state": "ready", "restarts": 0}
    doing = {"handling": None, "handling_seconds": None, "rate": 0.0, "cpu": 0.0, "concurrent": 0}
    waits = {"mailbox": 0, "mailbox_bytes": 0, "waiting_for": []}
    return {**known, **doing, **waits, **facts}


def test_what_a_node_does_not_say_is_left_open() -> None:
    quiet = {"answering": False, "lag": None, "actors": None, "rate": None}
    hung = node(name="web/1", **{**quiet, "actors": 12}, cpu=0.998)
    away = node(name="web/2", **quiet, state="EXITED", pid=None, rss=None, cpu=None)
    facts = {"pid": 1, "nodes": [node(), hung, away], "actors": [], "handlers": [], "requests": []}
    assert as_top(facts).splitlines() == [
        "system 1: 3 nodes, 15 actors, 10.0 messages/s",
        "",
        "NODE   KIND     STATE   PID  RESTARTS  MEMORY   CPU    LAG            ACTORS  MESSAGES/S",
        "web/0  process  READY   7    0         1.5 MiB  12 %   1.2 ms         3       10.0",
        "web/1  process  READY   7    0         1.5 MiB  100 %  not answering  12      -",
        "web/2  process  EXITED  -    0         -        -      -              -       -",
    ]


def test_of_a_blocked_node_is_shown_by_whom_and_what_its_parent_knows_of_its_actors() -> None:
    since = "2026-01-02T03:04:05Z"
    block = {"actor": "ann", "message": "add_up", "since": since, "seconds": 75.2}
    hung = node(answering=False, lag=None, rate=None, actors=2, blocked=block)
    unknown = dict.fromkeys(("state", "mailbox", "rate", "cpu", "concurrent", "waiting_for"))
    unknown["mailbox_bytes"] = None
    busy = actor(**unknown, handling="add_up", handling_seconds=75.2, restarts=1)
    idle = actor(**unknown, name="ben")
    facts = {"pid": 1, "nodes": [hung], "actors": [busy, idle], "handlers": [], "requests": []}
    assert as_top(facts).splitlines()[4:] == [
        "",
        f"web/0 is blocked by ann (add_up): 1 min 15 s, since {since}",
        "",
        "ACTOR  CLASS  NODE   MAILBOX  MESSAGES/S  CPU  HANDLING           WAITS-FOR  RESTARTS",
        "ann    Cart   web/0  -        -           -    add_up 1 min 15 s  -          1",
        "ben    Cart   web/0  -        -           -    -                  -          0",
    ]


def test_a_mailbox_with_big_messages_shows_how_many_bytes_they_have() -> None:
    big = actor(mailbox=40, mailbox_bytes=41_943_040)
    rows = as_top(
        {"pid": 1, "nodes": [node()], "actors": [big], "handlers": [], "requests": []}
    ).splitlines()
    assert "  40 (40.0 MiB)  0.0  " in rows[-1]


@pytest.mark.parametrize(
    "facts,shown",
    [
        ({}, "-"),
        ({"state": "starting"}, "(starting)"),
        ({"handling": "pay", "handling_seconds": 0.25}, "pay 0.25 s"),
        ({"handling": "pay", "handling_seconds": 2.0, "concurrent": 3}, "pay 2.0 s, 3 concurrent"),
        ({"handling": "pay", "handling_seconds": 125.0}, "pay 2 min 5 s"),
        ({"concurrent": 3}, "3 concurrent"),
    ],
    ids=["idle", "starting", "a moment", "and others", "minutes", "only others"],
)
def test_an_actor_shows_what_it_handles_and_since_when(facts: dict[str, Any], shown: str) -> None:
    top = as_top(
        {"pid": 1, "nodes": [node()], "actors": [actor(**facts)], "handlers": [], "requests": []}
    )
    _, row = top.splitlines()[-2:]
    assert row.startswith("ann    Cart   web/0  0        0.0         0 %  " + shown)


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    facts = {
        "actor": "a b",
        "exit": "CRASHED(ValueError: one\ntwo)",
        "why": "",
        "traceback": "...\n",
    }
    event = {
        "at": "12:00",
        "kind": "child_ended",
        "facts": {**facts, "count": 3, "run_here": False},
    }
    shown = '12:00  child_ended  actor="a b" exit="CRASHED(ValueError: one" count=3 run_here=false'
    assert as_event(event) == shown


def test_an_event_without_facts_is_its_name() -> None:
    assert as_event({"at": "12:00", "kind": "system_ready", "facts": {}}) == "12:00  system_ready"


def test_tasks_at_the_same_place_are_shown_once() -> None:
    stack = ['File "a.py", line 3 in wait', 'File "a.py", line 1 in live']
    many = {"count": 5, "names": ["actor a", "actor b"], "stack": stack}
    one = {"count": 1, "names": ["main"], "stack": stack[:1]}
    thread = {"thread": "MainThread", "stack": stack[:1]}
    facts = {"name": "web/0", "kind": "process", "pid": 7, "state": "READY"}
    assert as_stacks({**facts, "threads": [thread], "tasks": [many, one]}).splitlines() == [
        "node web/0 (process, pid 7), READY",
        "",
        "thread MainThread",
        '  File "a.py", line 3 in wait',
        "",
        "5 tasks at the same place: actor a, actor b and 3 more",
        '  File "a.py", line 3 in wait',
        '  File "a.py", line 1 in live',
        "",
        "task main",
        '  File "a.py", line 3 in wait',
    ]


def test_tasks_that_nobody_could_name_are_told_as_such() -> None:
    facts = {"name": "web/0", "kind": "process", "pid": 7, "state": "READY", "threads": []}
    told = "its tasks cannot be shown: its loop does not get to it"
    assert as_stacks({**facts, "tasks": None}).splitlines()[-1] == told


def test_columns_are_as_wide_as_their_widest_cell_and_gaps_are_told() -> None:
    away = node(name="rooms/12", state="EXITED", pid=None, answering=False, restarts=4)
    hung = node(name="web/1", answering=False, boot_seconds=12.5)
    groups = {"web": {"wanted": 2, "ready": 2}, "rooms": {"wanted": 13, "ready": 12}}
    facts = {
        "pid": 1,
        "nodes": [node(boot_seconds=0.213), hung, away],
        "groups": groups,
        "listeners": [],
    }
    assert as_status(facts).splitlines() == [
        "system 1",
        "",
        "NODE      KIND     STATE   PID  RESTARTS  MEMORY         ACTORS  BOOT",
        "web/0     process  READY   7    0         1.5 MiB        3       0.21 s",
        "web/1     process  READY   7    0         not answering  ?       12.5 s",
        "rooms/12  process  EXITED  -    4         -              -       -",
        "of the 13 nodes of rooms, 12 are ready",
    ]


def test_a_listener_shows_its_shares_and_when_it_does_not_accept() -> None:
    known = {"address": "127.0.0.1:8000", "policy": "round-robin", "nodes": "web"}
    counts = {
        "accepted": 9,
        "pending": 1,
        "peeking": 2,
        "refused": 4,
        "redispatched": 5,
        "lost_unread": 7,
        "passing": 0,
    }
    listener = {**known, **counts, "dropped": 6}
    open_ = {**listener, "accepting": True, "open": {"web/0": 2, "web/1": 0}}
    shut = {**listener, "accepting": False, "open": {}}
    shown = as_status({"pid": 1, "nodes": [], "listeners": [open_, shut]}).splitlines()
    titles = "LISTENER POLICY NODES ACCEPTED PENDING REFUSED REDISPATCHED DROPPED LOST-UNREAD OPEN"
    assert shown[-3].split() == titles.split()
    assert shown[-2].split()[3:9] == ["9", "3", "4", "5", "6", "7"]
    assert shown[-2].endswith("  web/0: 2, web/1: 0")
    assert shown[-1].endswith("  no node is ready (not accepting)")


TREE = {
    "name": "system",
    "kind": "supervisor",
    "state": "RUNNING",
    "children": [
        {
            "name": "rooms",
            "kind": "supervisor",
            "state": "RUNNING",
            "children": [
                {
                    "name": "lobby",
                    "kind": "actor",
                    "state": "RUNNING",
                    "class": "chat:Room",
                    "node": "rooms/0",
                    "restarts": 2,
                    "last_exit": "CRASHED(ValueError: a\nb)",
                }
            ],
        },
        {"name": "web/0", "kind": "node", "state": "WAITING", "pid": None},
    ],
}


def test_a_tree_is_drawn_in_start_order_one_line_each() -> None:
    assert as_tree(TREE, UNICODE).splitlines() == [
        "system  (supervisor)  RUNNING",
        "├─ rooms  (supervisor)  RUNNING",
        "│  └─ lobby  (Room on rooms/0)  RUNNING  restarts: 2  last exit: CRASHED(ValueError: a",
        "└─ web/0  (node)  WAITING",
    ]


def test_a_terminal_without_line_drawing_gets_plain_signs() -> None:
    assert line_drawing("utf-8") is UNICODE
    for poor in ("ascii", "latin-1", None, "no such encoding"):
        assert line_drawing(poor) is ASCII
    assert as_tree(TREE, ASCII).splitlines()[2].startswith("|  `- lobby")
