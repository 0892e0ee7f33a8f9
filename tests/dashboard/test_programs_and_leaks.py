"""Programs in `/metrics`, and what an open page leaves behind: nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from actors.dashboard.prometheus import exposition
from tests.cli.running_command import PATIENCE, Running

STREAMS = 200
FEW = 8
MIB = 1 << 20


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_show_each_instance_of_a_program(anybody: httpx.Client, system: Running) -> None:
    pids = {
        record["program"]: record["pid"]
        for record in system.events
        if record["event"] == "program started"
    }
    found = samples(anybody.get("/metrics").text)
    for name in ("sleeper/0", "sleeper/1"):
        assert found["actors_program_restarts_total", name] == 0
        assert found["actors_program_healthy", name] == 1
        assert found["actors_program_state", name, "READY"] == 1
        assert found["actors_program_state", name, "BACKING_OFF"] == 0
        assert found["actors_program_cpu_seconds_total", name] >= 0
        rss = psutil.Process(pids[name]).memory_info().rss
        assert found["actors_program_resident_memory_bytes", name] == rss


def test_an_instance_that_is_away_or_sick_is_told_from_one_that_is_well() -> None:
    def instance(name: str, state: str, health: str, cpu: float | None) -> dict[str, Any]:
        rss = None if cpu is None else MIB
        return {
            "name": name,
            "state": state,
            "health": health,
            "restarts": 3,
            "cpu": cpu,
            "rss": rss,
        }

    programs = [
        instance("api/0", "READY", "HTTP 500", 1.5),
        instance("api/1", "BACKING_OFF", "", None),
        instance("api/2", "FLYING", "", 0.0),
    ]
    figures = {"nodes": {}, "listeners": [], "pools": [], "programs": programs, "events": {}}
    found = samples(exposition(figures).decode())
    assert [found["actors_program_healthy", f"api/{slot}"] for slot in range(3)] == [0, 0, 0]
    assert found["actors_program_restarts_total", "api/1"] == 3
    assert found["actors_program_state", "api/1", "BACKING_OFF"] == 1
    assert found["actors_program_state", "api/1", "READY"] == 0
    assert found["actors_program_state", "api/2", "FLYING"] == 1
    assert found["actors_program_cpu_seconds_total", "api/0"] == 1.5
    assert ("actors_program_cpu_seconds_total", "api/1") not in found


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_streams_that_were_opened_and_closed_leave_no_descriptors_and_no_memory(
    operator: httpx.Client, system: Running
) -> None:
    node = system.event("node ready", node="admin/0")["pid"]
    processes = {pid: psutil.Process(pid) for pid in (system.pid, node)}

    def open_and_close(count: int) -> None:
        for number in range(count):
            with operator.stream("GET", "/api/live") as response:
                assert response.status_code == 200
                if number % 50 == 0:
                    assert next(response.iter_lines()) in {"event: look", "event: events"}

    open_and_close(STREAMS // 2)  # what is made once
    before = {pid: descriptors(pid) for pid in processes}
    memory = {pid: process.memory_info().rss for pid, process in processes.items()}
    open_and_close(STREAMS)
    deadline = time.monotonic() + PATIENCE
    # A link that is much used may have got memory of its own meanwhile.
    while any(descriptors(pid) > most + FEW for pid, most in before.items()):
        assert time.monotonic() < deadline, before
        os.sched_yield()
    for pid, process in processes.items():
        assert process.memory_info().rss - memory[pid] < 4 * MIB
    # None of them is counted as open any more.
    responses = [operator.stream("GET", "/api/live") for _ in range(16)]
    opened = [response.__enter__() for response in responses]
    assert {response.status_code for response in opened} == {200}
    for response in responses:
        response.__exit__(None, None, None)
