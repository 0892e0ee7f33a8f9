"""The router over real processes: fair shares, the hung, the killed."""

import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.routing import HandedOver, LeastConnections, Policy, RoundRobin, Router
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import connect

PROGRAM = Path(__file__).with_name("node_program.py")
ROOT = PROGRAM.parents[2]


class ProcessPlace:
    """A node in a process of its own, over a sequenced-packet socket pair."""

    def __init__(self, rig: Rig, router: Router, slot: int, handler: str) -> None:
        self.rig = rig
        self.router = router
        self.name = f"web-{slot}"
        self.slot = slot
        self.ready = False
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAM, str(theirs.fileno()), f"tests.routing.{handler}"],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env={"PYTHONPATH": str(ROOT)},
            )
        rig.loop.watch_readable(self.link.fileno(), self.hear)

    def hear(self) -> None:
        try:
            said = self.link.recv(64).decode()
        except ConnectionResetError:  # it died with a hand-over unread
            said = ""
        if said == "ready":
            self.ready = True
            self.router.add_node(self)
        elif said:
            numbers = [int(said[1:])]
            acknowledged, refused, closed = (numbers if said[0] == kind else [] for kind in "arc")
            self.router.on_acks(self.name, acknowledged, refused, closed)
        else:
            self.rig.loop.unwatch_readable(self.link.fileno())
            self.router.remove_node(self, dead=True)

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        assert listener == self.router.spec.name
        for one in handed:
            assert one.client is not None
            socket.send_fds(self.link, [str(one.number).encode()], [one.fd])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.link.close()


@pytest.fixture
def handler() -> str:
    return "node_program:pid_once"


@pytest.fixture
def policy() -> Policy:
    return LeastConnections()


@pytest.fixture
def nodes(rig: Rig, handler: str, policy: Policy) -> Iterator[list[ProcessPlace]]:
    router = rig.router(policy)
    with ExitStack() as stack:
        made = [ProcessPlace(rig, router, slot, handler) for slot in range(4)]
        for node in made:
            stack.callback(node.close)
        rig.loop.until(lambda: all(node.ready for node in made), "four nodes")
        yield made


def answers(rig: Rig, socks: list[socket.socket]) -> list[int]:
    """Wait until every client has its line; return the pids, 0 for one that was cut off."""
    heard: dict[socket.socket, bytes] = {}

    def hear(sock: socket.socket) -> None:
        try:
            heard[sock] = sock.recv(100)
        except ConnectionResetError:
            heard[sock] = b""
        rig.loop.unwatch_readable(sock.fileno())

    for sock in socks:
        rig.loop.watch_readable(sock.fileno(), lambda sock=sock: hear(sock))  # type: ignore[misc]
    rig.loop.until(lambda: len(heard) == len(socks), f"{len(socks)} answers")
    return [int(heard[sock] or 0) for sock in socks]


def test_a_burst_of_120_over_four_processes_is_30_each(rig: Rig, nodes: list[ProcessPlace]) -> None:
    pids = answers(rig, rig.connect(nodes[0].router, 120))
    assert Counter(pids) == {node.process.pid: 30 for node in nodes}


@pytest.mark.parametrize("policy", [RoundRobin(), LeastConnections()], ids=repr)
def test_120_one_after_another_over_four_processes_are_30_each(
    rig: Rig, nodes: list[ProcessPlace]
) -> None:
    router = nodes[0].router
    pids: Counter[int] = Counter()
    for _ in range(120):
        with connect(router) as sock:
            pids.update(answers(rig, [sock]))
        # A node says a moment later that it has closed; until then the policy counts one as open.
        rig.loop.until(lambda: sum(node.open for node in router.snapshot().nodes) == 0, "closed")
    assert pids == {node.process.pid: 30 for node in nodes}


def test_a_stopped_process_costs_one_client_who_is_served_when_it_goes_on(
    rig: Rig, nodes: list[ProcessPlace]
) -> None:
    stopped, *_ = nodes
    stopped.process.send_signal(signal.SIGSTOP)
    socks = rig.connect(stopped.router, 8)
    rig.loop.until(lambda: stopped.router.snapshot().accepted == 8)
    rig.loop.advance(0.2)
    rig.loop.until(lambda: sum(p.open for p in stopped.router.snapshot().nodes) == 0, "closed")
    for _ in range(52):
        with connect(stopped.router) as sock:
            answers(rig, [sock])
    (stats, *_) = stopped.router.snapshot().nodes
    assert (stats.total, stats.unacknowledged, stats.queued) == (1, 1, 0)
    stopped.process.send_signal(signal.SIGCONT)
    assert 0 not in answers(rig, socks)


def test_clients_of_a_stopped_process_that_is_then_killed_are_served_by_others(
    rig: Rig, nodes: list[ProcessPlace]
) -> None:
    stopped, *_ = nodes
    stopped.process.send_signal(signal.SIGSTOP)
    socks = rig.connect(stopped.router, 4)
    rig.loop.until(lambda: stopped.router.snapshot().accepted == 4)
    stopped.process.kill()
    pids = answers(rig, socks)
    assert 0 not in pids
    assert stopped.process.pid not in pids


@pytest.mark.parametrize("handler", ["node_program:pid"])
def test_clients_of_other_processes_do_not_notice_a_kill(
    rig: Rig, nodes: list[ProcessPlace]
) -> None:
    router = nodes[0].router
    socks = rig.connect(router, 12)
    for sock in socks:
        sock.sendall(b"?\n")
    before = answers(rig, socks)
    killed = nodes[0]
    killed.process.kill()
    rig.loop.until(lambda: len(router.snapshot().nodes) == 3, "the link's end")
    for sock in socks:
        sock.sendall(b"?\n")
    after = answers(rig, socks)
    gone = killed.process.pid
    assert after == [0 if pid == gone else pid for pid in before]
    assert before.count(gone) == 3
