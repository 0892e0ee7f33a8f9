"""What `ps` and `tree` make of facts: pure, text from data."""

from typing import Any

from actors.cli.client.print import ASCII, UNICODE, as_status, as_tree, lines_for


def node(**facts: object) -> dict[str, Any]:
    known = {"name": "web/0", "kind": "process", "state": "READY", "pid": 7, "restarts": 0}
    return {**known, "answering": True, "rss": 1_572_864, "actors": 3, **facts}


def test_columns_are_as_wide_as_their_widest_cell_and_gaps_are_told() -> None:
    away = node(name="rooms/12", state="EXITED", pid=None, answering=False, restarts=4)
    hung = node(name="web/1", answering=False)
    facts = {"pid": 1, "nodes": [node(), hung, away], "listeners": []}
    assert as_status(facts).splitlines() == [
        "system 1",
        "",
        "NODE      KIND     STATE   PID  RESTARTS  MEMORY         ACTORS",
        "web/0     process  READY   7    0         1.5 MiB        3",
        "web/1     process  READY   7    0         not answering  ?",
        "rooms/12  process  EXITED  -    4         -              -",
    ]


def test_a_listener_shows_its_shares_and_when_it_does_not_accept() -> None:
    known = {"address": "127.0.0.1:8000", "policy": "round-robin", "nodes": "web"}
    counts = {"accepted": 9, "pending": 1, "peeking": 2, "refused": 4, "redispatched": 5}
    listener = {**known, **counts, "dropped": 6}
    open_ = {**listener, "accepting": True, "open": {"web/0": 2, "web/1": 0}}
    shut = {**listener, "accepting": False, "open": {}}
    shown = as_status({"pid": 1, "nodes": [], "listeners": [open_, shut]}).splitlines()
    titles = "LISTENER POLICY NODES ACCEPTED PENDING REFUSED REDISPATCHED DROPPED OPEN"
    assert shown[-3].split() == titles.split()
    assert shown[-2].split()[3:8] == ["9", "3", "4", "5", "6"]
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
    assert lines_for("utf-8") is UNICODE
    for poor in ("ascii", "latin-1", None, "no such encoding"):
        assert lines_for(poor) is ASCII
    assert as_tree(TREE, ASCII).splitlines()[2].startswith("|  `- lobby")
