"""What the address of the dashboard answers, to whom, and what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.running_command import PATIENCE, Running, run_here

PAGES = ["/", "/page.css", "/page.js", "/icon.svg"]
GUARDED = ["/api/live", "/api/children", "/api/stack?node=web/0", "/api/actor?name=x"]


def change(client: httpx.Client, operation: object, **arguments: object) -> httpx.Response:
    return client.post("/api/change", json={"operation": operation, "arguments": arguments})


def samples(client: httpx.Client) -> dict[tuple[str, tuple[str, ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everybody_is_told_that_it_is_healthy_and_ready(anybody: httpx.Client) -> None:
    assert anybody.get("/healthz").json() == {"healthy": True}
    assert anybody.get("/readyz").json() == {"ready": True, "why": []}
    assert anybody.head("/readyz").status_code == 200


def test_metrics_show_nodes_actors_listeners_pools_and_events(anybody: httpx.Client) -> None:
    found = samples(anybody)

    assert found["actors_nodes", ("web",)] == found["actors_nodes_ready", ("web",)] == 2
    assert found["actors_node_answering", ("web/1",)] == 1
    assert found["actors_node_resident_memory_bytes", ("web/0",)] > 1_000_000
    assert found["actors_actors", ("tests.dashboard.served:Counter", "web/0")] == 1
    assert found["actors_listener_accepting", ("shop",)] == 1
    assert found["actors_pool_workers_ready", ("work",)] == 1
    assert found["actors_events_total", ("system_ready",)] == 1


def test_the_users_own_metrics_of_all_nodes_are_added_up(
    anybody: httpx.Client, system: Running
) -> None:
    for name in ("<i>counter", "other", "other"):
        assert run_here(system.runtime, "ask", name, "add")[0] == 0
    found = samples(anybody)

    assert found["shop_added_total", ("<top>",)] == 3
    assert found["shop_lasted_seconds_bucket", ("0.1",)] == 3
    assert found["shop_lasted_seconds_count", ()] == 3
    assert found["shop_open", ()] == 3
    assert found["shop_level", ("web/0",)] == found["shop_level", ("web/1",)] == 0
    assert not any(name.startswith(("process_", "python_")) for name, _ in found)


def test_metrics_show_how_long_handlers_wait_and_run(
    anybody: httpx.Client, system: Running
) -> None:
    samples(anybody)  # they are measured from the first look on
    for _ in range(3):
        assert run_here(system.runtime, "ask", "other", "add")[0] == 0
    found = samples(anybody)

    labels = ("tests.dashboard.served:Counter", "add", "web/1")
    for name in ("wait", "run"):
        assert found[f"actors_handler_{name}_seconds_count", labels] >= 3
        ends = {kind: value for (kind, at), value in found.items() if set(labels) < set(at)}
        assert ends[f"actors_handler_{name}_seconds_bucket"] >= 3
    assert found["actors_handler_cpu_seconds_total", labels] > 0


def test_the_page_says_nothing_of_the_system_and_allows_nothing_foreign(
    anybody: httpx.Client,
) -> None:
    for path in PAGES:
        answer = anybody.get(path)
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        for foreign in ("http://", "https://"):
            assert foreign not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in answer.text
        assert "counter" not in answer.text


@pytest.mark.parametrize("path", GUARDED)
def test_what_shows_the_system_needs_the_token(anybody: httpx.Client, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer x" * 40}):
        answer = anybody.get(path, headers=headers)
        assert answer.status_code == 401
        assert "actors admin" in answer.json()["error"]


def test_without_the_token_nothing_changes(anybody: httpx.Client, operator: httpx.Client) -> None:
    assert change(anybody, "scale", groups={"web": 3}).status_code == 401
    assert samples(operator)["actors_nodes", ("web",)] == 2


@pytest.mark.parametrize("path", ["/", "/page.js", "/api/children"])
def test_a_page_that_pretends_to_be_this_one_gets_nothing(
    operator: httpx.Client, path: str
) -> None:
    for host in ("evil.example", "evil.example:9000", "localhost.evil.example", "", "[", "a b"):
        assert operator.get(path, headers={"Host": host}).status_code in {400, 403}
    for host in ("localhost", "localhost:99", "127.0.0.1", "[::1]:80", "OPS.example:9000"):
        assert operator.get(path, headers={"Host": host}).status_code == 200


def test_a_page_of_another_site_changes_nothing(operator: httpx.Client) -> None:
    answer = operator.post(
        "/api/change",
        json={"operation": "scale", "arguments": {"groups": {"web": 3}}},
        headers={"Origin": "http://evil.example"},
    )

    assert (answer.status_code, "evil.example" in answer.json()["error"]) == (403, True)


def test_an_address_with_too_many_fields_is_refused_in_a_sentence(anybody: httpx.Client) -> None:
    answer = anybody.get("/healthz?" + "&".join(f"a{number}=1" for number in range(17)))

    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "the query has more than 16 fields",
    )


def test_a_change_from_no_site_that_there_can_be_is_refused(operator: httpx.Client) -> None:
    answer = operator.post("/api/change", json={}, headers={"Origin": "http://[::1"})

    assert (answer.status_code, answer.json()["error"]) == (
        403,
        "a page of 'http://[::1' may change nothing here",
    )


@pytest.mark.parametrize("path, taken", [("/metrics", "GET, HEAD"), ("/api/change", "POST")])
def test_a_method_that_is_not_taken_is_answered_with_those_that_are(
    operator: httpx.Client, path: str, taken: str
) -> None:
    answer = operator.put(path)

    assert (answer.status_code, answer.headers["allow"]) == (405, taken)


def test_the_tree_comes_in_parts_and_names_are_not_markup(operator: httpx.Client) -> None:
    top = operator.get("/api/children").json()
    names = [child["name"] for child in top["children"]]
    assert {"nodes", "spawned", "guests", "inner", "work"} <= set(names)
    assert top["total"] == len(names)
    inner = operator.get("/api/children", params={"path": "inner"}).json()["children"]
    assert [(row["name"], row["state"], row["kind"]) for row in inner] == [
        ("<i>counter", "RUNNING", "actor")
    ]
    rest = operator.get("/api/children", params={"start": "1"}).json()
    assert [child["name"] for child in rest["children"]] == names[1:]


def test_an_actor_shows_what_waits_in_its_mailbox_without_values(
    operator: httpx.Client, system: Running
) -> None:
    found = operator.get("/api/actor", params={"name": "<i>counter"}).json()

    assert found["class"] == "tests.dashboard.served:Counter"
    assert (found["node"], found["queued"], found["handling"]) == ("web/0", 0, None)


def test_messages_that_come_while_somebody_looks_show_their_age_and_sender(
    operator: httpx.Client, system: Running
) -> None:
    def look() -> dict[str, Any]:
        found: dict[str, Any] = operator.get("/api/actor", params={"name": "patient"}).json()
        return found

    assert look()["queued"] == 0
    assert run_here(system.runtime, "ask", "sender", "hurry")[0] == 0
    while (found := look())["queued"] != 2 or found["handling"] != "wait":
        pass  # the messages are under way
    assert found["by_method"] == {"wait": 2}
    assert [(item["method"], item["from"]) for item in found["oldest"]] == [
        ("wait", "(code on web/0)")
    ] * 2
    before = found["oldest"][0]["age"]
    assert look()["oldest"][0]["age"] > before >= 0
    assert change(operator, "restart", name="patient", actor=True).status_code == 200


def test_a_look_shows_requests_and_how_long_they_take(
    operator: httpx.Client, system: Running
) -> None:
    shop = system.event("listening", listener="shop")["address"]
    with operator.stream("GET", "/api/live") as answer:
        for kind, look in looks(answer):
            assert httpx.get(f"http://{shop}/", trust_env=False).text == "served"
            if kind != "look":
                continue
            assert isinstance(look, dict)
            found = {item["listener"]: item for item in look["requests"]}["shop"]
            if found["p99"] is not None:
                assert found["p99"] >= found["p50"] > 0
                assert found["rate"] > 0
                break
    metrics = samples(operator)
    nodes = [(node, "shop") for node in ("web/0", "web/1")]
    counts = [metrics["actors_listener_requests_total", labels[::-1]] for labels in nodes]
    assert sum(counts) >= 1
    assert sum(metrics["actors_listener_request_seconds_count", labels[::-1]] for labels in nodes)


def test_a_node_shows_its_stacks(operator: httpx.Client) -> None:
    assert "web/1" in operator.get("/api/stack", params={"node": "web/1"}).text


@pytest.mark.parametrize(
    "path, status, says",
    [
        ("/nothing", 404, "nothing here"),
        ("/api/children?path=nowhere", 409, "'nowhere'"),
        ("/api/children?start=x", 400, "'x'"),
        ("/api/children?start=99999999999999", 400, "start"),
        ("/api/actor?name=nobody", 409, "'nobody'"),
        ("/api/stack?node=web/9", 409, "web/9"),
        ("/api/" + "x" * 500, 404, "nothing here"),
    ],
)
def test_what_there_is_not_is_one_clear_error(
    operator: httpx.Client, path: str, status: int, says: str
) -> None:
    answer = operator.get(path)

    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert len(answer.json()["error"]) < 300


@pytest.mark.parametrize(
    "body, status",
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"[" * 15_000, 400),
        (b"{}", 400),
        (b'{"operation": "stop"}', 400),
        (b'{"operation": ["scale"]}', 400),
        (b'{"operation": "scale", "arguments": {"core": 1}}', 400),
        (b'{"operation": "scale", "arguments": []}', 400),
        (b'{"operation": "scale", "arguments": {"groups": {"web": 0}}}', 409),
        (b'{"operation": "scale", "arguments": {"groups": {"nope": 2}}}', 409),
        (b'{"operation": "restart", "arguments": {"name": "nope/0"}}', 409),
        (b" " * 20_000, 413),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_and_changes_nothing(
    operator: httpx.Client, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = operator.post("/api/change", content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert operator.post("/api/change", content=b"{}").status_code == 415
    assert operator.get("/api/change").status_code == 405
    assert operator.get("/readyz").json()["ready"]


def test_a_change_is_made_and_logged_with_who_asked_for_it(
    operator: httpx.Client, system: Running
) -> None:
    assert change(operator, "scale", groups={"web": 3}).status_code == 200
    assert samples(operator)["actors_nodes", ("web",)] == 3
    line = system.event("admin request", operation="scale", groups={"web": 3})
    assert str(line["by"]).startswith("the dashboard, 127.0.0.1:")
    assert change(operator, "scale", groups={"web": 2}).status_code == 200
    assert change(operator, "restart", name="<i>counter", actor=True).status_code == 200
    token = operator.headers["authorization"].removeprefix("Bearer ")
    assert not any(token in text for text in system.lines)


def looks(answer: httpx.Response) -> Iterator[tuple[str, object]]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def test_the_page_is_sent_looks_and_events_as_they_come(operator: httpx.Client) -> None:
    with operator.stream("GET", "/api/live") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        seen = looks(answer)
        look = next(value for kind, value in seen if kind == "look")
        assert isinstance(look, dict)
        assert {node["name"] for node in look["nodes"]} >= {"web/0", "web/1", "admin/0"}
        assert change(operator, "restart", name="<i>counter", actor=True).status_code == 200
        for kind, value in seen:
            if kind == "events" and any(event["kind"] == "child_ended" for event in value):  # type: ignore[attr-defined] # a list
                break


def test_so_many_pages_and_no_more_and_each_that_closes_makes_room(operator: httpx.Client) -> None:
    opened = [operator.stream("GET", "/api/live") for _ in range(16)]
    try:
        for page in opened:
            page.__enter__()
        refused = operator.get("/api/live")
        assert (refused.status_code, "16 pages" in refused.json()["error"]) == (429, True)
    finally:
        for page in opened:
            page.__exit__(None, None, None)
    deadline = time.monotonic() + PATIENCE
    while True:
        with operator.stream("GET", "/api/live") as answer:
            if answer.status_code == 200:
                break
        assert time.monotonic() < deadline


def test_a_client_that_says_nothing_does_not_keep_others_waiting(anybody: httpx.Client) -> None:
    host, port = anybody.base_url.host, anybody.base_url.port
    silent = [socket.create_connection((host, port or 80)) for _ in range(50)]
    try:
        assert anybody.get("/healthz").status_code == 200
    finally:
        for one in silent:
            one.close()


def test_a_parent_that_is_silent_is_not_healthy(anybody: httpx.Client, system: Running) -> None:
    system.process.send_signal(signal.SIGSTOP)
    try:
        answer = anybody.get("/healthz")
        assert answer.status_code == 503
        assert "has not answered for 5 s" in answer.json()["why"]
    finally:
        system.process.send_signal(signal.SIGCONT)
    assert anybody.get("/healthz").status_code == 200


def test_a_body_that_is_said_to_be_too_long_is_refused_before_it_comes(
    url: str, operator: httpx.Client
) -> None:
    host = url.removeprefix("http://").partition("/")[0]
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=PATIENCE) as client:
        token = operator.headers["authorization"]
        client.sendall(
            f"POST /api/change HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_clients_that_say_nothing_keep_checks_of_health_out_for_two_seconds_at_most(
    url: str, anybody: httpx.Client
) -> None:
    name, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    silent = []
    try:
        for _ in range(300):  # more than may be connected at once
            silent.append(socket.create_connection((name, int(port)), timeout=PATIENCE))
            silent[-1].sendall(b"GET / HTTP/1.1\r\nHo")
        assert anybody.get("/healthz", timeout=8).json() == {"healthy": True}
    finally:
        for client in silent:
            client.close()
