"""What `actors doctor` concludes from what it saw."""

from __future__ import annotations

from typing import Any

from actors.cli.client.diagnosis import Advice, diagnose


def node(name: str, cpu: float, **facts: Any) -> dict[str, Any]:
    return {"name": name, "kind": "process", "cpu": cpu, "lag": 0.001, "blocked": None, **facts}


def look(*nodes: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"seconds": 2.0, "nodes": list(nodes), "actors": [], "handlers": [], **facts}


def handler(cpu: float, p50: float) -> dict[str, Any]:
    return {"class": "shop:Cart", "method": "add_up", "run": {"p50": p50}, "cpu_seconds": cpu}


def test_nodes_of_other_machines_share_no_cpus_with_this_one() -> None:
    far = [node(f"far/{slot}", 0.9, place=f"far@{slot}", library_threads="4") for slot in range(3)]
    (advice,) = diagnose([look(*far, node("web/0", 0.5, library_threads="1"))] * 2, 2)
    assert (advice.about, advice.what) == ("far", "more nodes: actors scale far=4")


def test_a_system_that_is_well_is_left_alone_with_the_figures() -> None:
    (advice,) = diagnose([look(node("web/0", 0.5), node("web/1", 0.4))] * 3, 2)
    why = "its nodes compute 45% of their time, and their loops are at most 1 ms late"
    assert advice == Advice("the system", "leave it alone", why)


def test_a_busy_group_gets_more_nodes_while_there_are_cpus() -> None:
    looks = [look(node("web/0", 0.9), node("web/1", 0.8), node("back/0", 0.5))] * 2
    (advice,) = diagnose(looks, 4)
    assert advice == Advice(
        "web", "more nodes: actors scale web=3", "its 2 nodes compute 85% of their time"
    )
    (advice,) = diagnose(looks, 3)
    assert advice.what == "more CPUs, or less work: more nodes would only switch"
    assert advice.why == "its 2 nodes compute 85% of their time, and there are 3 CPUs for 3 nodes"


def test_a_group_that_rests_needs_fewer() -> None:
    (advice,) = diagnose([look(node("web/0", 0.1), node("web/1", 0.1))], 2)
    assert advice.about == "web"
    assert advice.what == "if it is so at its busiest, 1 node would do: actors scale web=1"
    assert diagnose([look(node("web/0", 0.1))], 2)[0].what == "leave it alone"


def test_a_handler_that_computes_for_long_belongs_into_a_pool() -> None:
    looks = [look(node("web/0", 0.7), handlers=[handler(1.4, 0.05)])] * 2
    (advice,) = diagnose(looks, 4)
    assert advice.about == "shop:Cart.add_up"
    assert advice.what.startswith("move its computation to a pool")
    assert advice.why.startswith("it used 70% of a CPU, half of its messages more than 50 ms")
    for small in (handler(1.4, 0.001), handler(0.1, 0.05)):
        assert diagnose([look(node("web/0", 0.7), handlers=[small])], 4)[0].what == "leave it alone"


def test_what_keeps_a_loop_comes_first() -> None:
    block = {"actor": "ann", "message": "add_up", "seconds": 3.25}
    blocked = node("web/0", 1.0, blocked=block, lag=None)
    advice = diagnose([look(node("web/0", 0.2)), look(blocked)], 4)
    assert advice[0] == Advice(
        "web/0",
        "see where it stands: actors stack web/0",
        "ann (add_up) has kept its loop for 3.2 s",
    )


def test_late_loops_and_deep_mailboxes_are_told() -> None:
    ann = {"name": "ann", "mailbox": 1500}
    looks = [
        look(node("web/0", 0.5, lag=0.3), actors=[{**ann, "mailbox": 20}]),
        look(node("web/0", 0.5), actors=[ann]),
    ]
    late, deep = diagnose(looks, 4)
    assert (late.about, late.why) == ("web/0", "its loop was 300 ms late")
    assert deep.why == "1,500 messages wait for it, 20 at first"


def test_more_threads_of_libraries_than_cpus_are_told() -> None:
    nodes = [node("web/0", 0.5, library_threads="4"), node("web/1", 0.5, library_threads="4")]
    (advice,) = diagnose([look(*nodes)], 4)
    assert advice.about == "OMP_NUM_THREADS"
    assert (
        advice.why == "numpy and the like may compute in 8 threads of 2 nodes, and there are 4 CPUs"
    )
    for text in ("2", "", "1,2"):
        others = [{**one, "library_threads": text} for one in nodes]
        assert diagnose([look(*others)], 4)[0].what == "leave it alone"
