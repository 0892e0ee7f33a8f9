"""The parent answers its agents in a thread, and knows whose lease is over; an agent asks in one."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from actors.machines.lease_asker import LeaseAsker
from actors.machines.lease_line import QUESTION
from actors.machines.lease_page import boot_time
from actors.machines.lease_server import LeaseServer
from tests.machines.plain_session import PlainSession, session_pair

LENGTH = 2.0
OVER = 2.45
"""Seconds that the parent counts from a question."""
LATE = 10.0
BOOTED = 8.0
"""Seconds of a lease whose agent has to be started first."""
NOTHING_MORE = 0.5


class Parent:
    """A lease server, and what it has told."""

    def __init__(self, length: float = LENGTH) -> None:
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()
        self.server = LeaseServer(
            length,
            on_silent=lambda key: self.told.put(("silent", key)),
            on_heard=lambda key: self.told.put(("heard", key)),
            on_over=lambda key: self.told.put(("over", key)),
        )

    def next(self) -> tuple[str, str]:
        return self.told.get(timeout=LATE)


@pytest.fixture
def parent() -> Iterator[Parent]:
    parent = Parent()
    yield parent
    parent.server.close()


class Agent:
    """An asker, and why it has ended."""

    def __init__(self, session: PlainSession) -> None:
        self.session = session
        self.ended: queue.Queue[str] = queue.Queue()
        self.asker = LeaseAsker(session, LENGTH, self.ended.put)
        self._closed = False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.asker.close()


@pytest.fixture
def agent(parent: Parent) -> Iterator[Agent]:
    ours, theirs = session_pair()
    parent.server.watch("a")
    assert parent.server.serve("a", ours)
    agent = Agent(theirs)
    assert agent.asker.wait_held(LATE)
    yield agent
    agent.close()


def test_an_agent_that_is_answered_keeps_its_lease(parent: Parent, agent: Agent) -> None:
    until = time.monotonic() + 3 * LENGTH
    while time.monotonic() < until:
        assert agent.asker.left > 0
        assert agent.asker.page.until > boot_time()
        time.sleep(0.01)
    assert agent.ended.empty()
    assert ("over", "a") not in parent.told.queue


def test_what_is_cut_is_over_for_the_agent_before_it_is_for_the_parent(
    parent: Parent, agent: Agent
) -> None:
    agent.session.cut = True
    assert "lease of 2 s is over" in agent.ended.get(timeout=LATE)
    assert parent.next() == ("silent", "a")
    assert parent.next() == ("over", "a")
    assert agent.asker.page.until < boot_time()
    assert agent.asker.left == 0
    assert parent.server.left("a") is None


def test_silence_for_less_than_a_lease_costs_an_event_and_no_place(
    parent: Parent, agent: Agent
) -> None:
    agent.session.cut = True
    assert parent.next() == ("silent", "a")
    agent.session.cut = False
    assert parent.next() == ("heard", "a")
    assert agent.ended.empty()


def test_a_connection_that_has_ended_does_not_shorten_what_the_parent_counts(
    parent: Parent, agent: Agent
) -> None:
    agent.close()
    began = boot_time()
    assert parent.next() == ("silent", "a")
    assert parent.next() == ("over", "a")
    assert boot_time() - began > OVER - LENGTH / 5 - 0.1


def test_the_agent_is_told_when_the_connection_has_ended(parent: Parent, agent: Agent) -> None:
    parent.server.forget("a")
    assert "closed" in agent.ended.get(timeout=LATE)


def test_a_place_that_never_asks_is_over_after_a_lease(parent: Parent) -> None:
    parent.server.watch("mute")
    assert parent.next() == ("silent", "mute")
    assert parent.next() == ("over", "mute")


def test_nobody_is_told_of_a_forgotten_place(parent: Parent) -> None:
    parent.server.watch("a")
    parent.server.forget("a")
    with pytest.raises(queue.Empty):
        parent.told.get(timeout=OVER + NOTHING_MORE)


def test_the_server_closes_a_session_of_a_place_that_is_over(parent: Parent) -> None:
    ours, theirs = session_pair()
    assert not parent.server.serve("gone", ours)
    assert theirs.recvmsg_into([bytearray(1)])[0] == 0
    theirs.close()


def test_an_agent_may_ask_on_a_new_connection(parent: Parent, agent: Agent) -> None:
    ours, theirs = session_pair()
    assert parent.server.serve("a", ours)
    assert "closed" in agent.ended.get(timeout=LATE)
    again = Agent(theirs)
    assert again.asker.wait_held(LATE)
    again.close()


def test_a_parent_whose_loop_is_busy_answers_all_the_same(parent: Parent, agent: Agent) -> None:
    busy = time.monotonic() + 2 * OVER
    while time.monotonic() < busy:  # this thread is the one that has the loop
        sum(range(1000))
    assert agent.asker.left > 0
    assert ("over", "a") not in parent.told.queue


def test_both_ends_know_how_their_clocks_differ(parent: Parent, agent: Agent) -> None:
    patience = time.monotonic() + LATE
    while parent.server.offset("a") is None and time.monotonic() < patience:
        time.sleep(0.01)
    for known in (parent.server.offset("a"), agent.asker.offset):
        assert known is not None
        assert abs(known.ahead) <= known.error  # here they are the same clock
        assert 0 < known.error < LENGTH


def test_questions_that_come_at_once_get_one_answer(parent: Parent) -> None:
    ours, theirs = session_pair()
    parent.server.watch("fast")
    theirs.send(b"".join(QUESTION.pack(n, 0, 0) for n in range(1000)))
    parent.server.serve("fast", ours)
    end = socket.socket(fileno=os.dup(theirs.fileno()))
    end.settimeout(LATE)
    end.setblocking(True)
    answered = end.recv(64 * 1024)
    assert len(answered) < 100
    end.close()
    theirs.close()


AGENT = """
import socket, sys, time
from actors.machines.lease_asker import LeaseAsker
from tests.machines.plain_session import PlainSession
asker = LeaseAsker(PlainSession(socket.socket(fileno=int(sys.argv[1]))), float(sys.argv[2]), print)
assert asker.wait_held(10)
print(asker.page.path, asker.every, flush=True)
time.sleep(60)
"""
NODE = """
import sys, time
from actors.machines.lease_timer import hold_lease
hold_lease(sys.argv[1], float(sys.argv[2]))
print("holds", flush=True)
while True:
    print(time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)
"""


def test_a_node_of_a_stopped_agent_is_over_before_the_parent_counts_it_over() -> None:
    parent = Parent(BOOTED)
    ours, theirs = session_pair()
    parent.server.watch("a")
    parent.server.serve("a", ours)
    fd = theirs.fileno()
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, str(fd), str(BOOTED)],
        pass_fds=[fd],
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        theirs.close()
        assert agent.stdout is not None
        page, every = agent.stdout.readline().split()
        with subprocess.Popen(
            [sys.executable, "-c", NODE, page, every], stdout=subprocess.PIPE, text=True
        ) as node:
            assert node.stdout is not None
            assert node.stdout.readline() == "holds\n"
            written: list[str] = []
            reader = threading.Thread(target=lambda: written.extend(node.stdout or ()))
            reader.start()
            agent.send_signal(signal.SIGSTOP)
            try:
                while parent.next() != ("over", "a"):
                    pass
                over_at = boot_time()
                assert node.wait(LATE) == -signal.SIGKILL
                reader.join()
            finally:
                node.kill()
                agent.kill()
    parent.server.close()
    assert float(written[-2]) < over_at
