"""Messages that wait at their senders while the node of their actor is away: for how long, and in which order.

The peer of a node that is not there, in virtual time: what the parent says of the node is said here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import trio.testing

from actors import Actor, Exit, Ref
from actors._base.run_loop import open_loop
from actors._remoting.actor_host import ActorHost, class_path
from actors._remoting.peer import Peer
from actors.errors import ActorStopped, DeadlineExceeded, NodeDown
from actors.testing import VirtualTimeLoop
from actors.transport import pair

KILLED = "killed by SIGKILL"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class There(Actor):
    async def note(self, value: Any) -> None: ...

    async def get(self, number: int = 1) -> int:
        return number

    async def items(self) -> AsyncIterator[int]:
        yield 1


class Here:
    """This node, and the node called a/0 as it knows it."""

    def __init__(self, host: ActorHost) -> None:
        self.host = host
        self.peer: Peer = host.peer("a/0")
        self.asked: list[str] = []
        services: Any = SimpleNamespace(
            connect=lambda peer: self.asked.append(peer.name),
            event=lambda kind, facts: self.events.append((kind, facts)),
        )
        host.services = services
        self.events: list[tuple[str, dict[str, Any]]] = []

    def ref(self, uid: int = 7, *, mailbox: int = 10) -> Ref[There]:
        return Ref(self.host, uid, "a/0", f"there-{uid}", class_path(There), mailbox, There)


@asynccontextmanager
async def here() -> AsyncIterator[Here]:
    async with open_loop() as loop:
        me = Here(ActorHost("b/0", 2, loop))
        try:
            yield me
        finally:
            me.host.close_links()
            me.host.memory.close()


class Ends(list[tuple[str, str, float]]):
    """How messages ended, in this order: a name, what came, and the seconds since the test began."""

    def __init__(self) -> None:
        super().__init__()
        self._begin = anyio.current_time()

    async def of(self, name: str, send: Callable[[], Any]) -> None:
        what = "sent"
        try:
            await send()
        except (NodeDown, ActorStopped, DeadlineExceeded) as error:
            what = type(error).__name__
        self.append((name, what, round(anyio.current_time() - self._begin, 3)))


async def test_messages_wait_for_the_patience_from_the_death_and_then_fail_at_once() -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        me.peer.down(KILLED, restarting=True, patience=1.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "first", lambda: ref.ask(There.get))
            await anyio.sleep(0.9)
            tasks.start_soon(ends.of, "last", lambda: ref.tell(There.note, 1))

            async def read() -> None:
                async with ref.stream(There.items) as items:
                    await anext(items)

            tasks.start_soon(ends.of, "stream", read)
        waited = ["first", "last", "stream"]
        assert sorted(ends) == [(name, "NodeDown", 1.0) for name in waited]
        with pytest.raises(NodeDown) as caught, anyio.fail_after(1):
            await ref.ask(There.get)
        assert caught.value.restarting
        why = f"node a/0 is down ({KILLED}); it is being restarted"
        assert caught.value.why == f"{why}, which takes longer than System(patience=)"
        assert me.asked == []


async def test_wait_ready_waits_beyond_the_patience_until_its_own_deadline() -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        me.peer.down(KILLED, restarting=True, patience=1.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "within", ref.within(60).wait_ready)
            tasks.start_soon(ends.of, "given up", ref.wait_ready)
            await anyio.sleep(100)
            me.peer.down(KILLED, restarting=True)  # it died again while it booted
            await anyio.sleep(100)
            me.peer.down(KILLED, restarting=False)
        assert ends == [("within", "DeadlineExceeded", 60.0), ("given up", "NodeDown", 200.0)]
        me.peer.down(KILLED, restarting=True)
        with pytest.raises(DeadlineExceeded, match=r"not ready in 0\.5 s$"):
            await ref.within(0.5).wait_ready()


async def test_wait_ready_asks_as_soon_as_the_node_is_ready_and_hears_of_the_end_at_once() -> None:
    async with here() as me:
        ends, ref, other = Ends(), me.ref(), me.ref(8)
        me.peer.down(KILLED, restarting=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "ended", other.wait_ready)
            tasks.start_soon(ref.wait_ready)
            await anyio.sleep(5)
            me.host.remember(8, Exit.SHUTDOWN)
            await anyio.sleep(5)
            assert me.asked == []
            me.peer.up()
            await anyio.sleep(0.01)
            assert me.asked == ["a/0"]
            tasks.cancel_scope.cancel()
        assert ends == [("ended", "ActorStopped", 5.0)]


async def test_a_message_of_its_own_deadline_ends_at_that() -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref().within(0.25)
        me.peer.down(KILLED, restarting=True, patience=1.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "ask", lambda: ref.ask(There.get))
            tasks.start_soon(ends.of, "tell", lambda: ref.tell(There.note, 1))

            async def read() -> None:
                async with ref.stream(There.items) as items:
                    await anext(items)

            tasks.start_soon(ends.of, "stream", read)
        assert sorted(ends) == [
            (name, "DeadlineExceeded", 0.25) for name in ("ask", "stream", "tell")
        ]
        with pytest.raises(DeadlineExceeded, match=r"not sent in 0\.25 s: node a/0 is down"):
            await ref.tell(There.note, 1)


@pytest.mark.parametrize(
    "news, why",
    [
        ({"restarting": True, "patience": 0.0}, "longer than System"),
        ({"restarting": False}, "it is not coming back"),
    ],
)
async def test_news_that_it_is_not_back_in_time_ends_the_wait(
    news: dict[str, Any], why: str
) -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        me.peer.drain("replaced", restarting=True, patience=math.inf)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "one", lambda: ref.ask(There.get))
            await anyio.sleep(50)
            me.peer.down(KILLED, restarting=True, patience=1.0)
            await anyio.sleep(0.5)
            me.peer.down(KILLED, **news)
        assert ends == [("one", "NodeDown", 50.5)]
        with pytest.raises(NodeDown, match=why):
            ref.tell_nowait(There.note, 1)


async def test_what_waits_goes_first_and_in_order_when_the_node_is_ready() -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        me.peer.down(KILLED, restarting=True, patience=1.0)
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(ends.of, "early", lambda n=number: ref.ask(There.get, n))
                await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.8)
            me.peer.up()
            ref.tell_nowait(There.note, "just as young")
            tasks.start_soon(ends.of, "late", lambda: ref.ask(There.get, 3))
            await anyio.sleep(100)
            link = me.peer.link
            assert link is not None
            sent = [envelope.args for envelope, _ in link.pending.values()]
            assert (sent, ends) == ([(0,), (1,), (2,), (3,)], [])
            tasks.cancel_scope.cancel()
        assert me.asked == ["a/0"]


async def test_only_actors_that_the_next_run_will_have_are_waited_for() -> None:
    async with here() as me:
        me.peer.down(KILLED, restarting=True, patience=1.0)
        with pytest.raises(NodeDown), anyio.fail_after(1):
            await me.ref(3 << 32 | 1).ask(There.get)
        ends, ref = Ends(), me.ref()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "one", lambda: ref.ask(There.get))
            await anyio.sleep(0.2)
            me.host.remember(ref.uid, Exit.NODE_DOWN("it was TEMPORARY"))
        assert ends == [("one", "ActorStopped", 0.2)]
        with pytest.raises(ActorStopped, match="it was TEMPORARY"):
            me.ref().tell_nowait(There.note, 1)


@pytest.mark.parametrize("how", ["died", "was renewed"])
async def test_what_a_link_without_a_socket_holds_is_sent_to_the_next_run(how: str) -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "one", lambda: ref.ask(There.get))
            await ref.tell(There.note, 1)
            link = me.peer.link
            assert link is not None
            if how == "died":
                me.peer.down(KILLED, restarting=True, patience=1.0)
            else:
                me.peer.drain("replaced", restarting=True, patience=math.inf)
                me.peer.down("replaced", restarting=True, patience=math.inf)
            tasks.start_soon(ends.of, "two", lambda: ref.tell(There.note, 2))
            await anyio.sleep(0.5)
            assert ends == []
            me.peer.up()
            assert me.peer.link == link
            await anyio.wait_all_tasks_blocked()
            assert [name for name, _, _ in ends] == ["two"]
            assert me.asked == ["a/0", "a/0"]
            assert [envelope.handler.name for envelope, _ in link.pending.values()] == ["get"]
            tasks.cancel_scope.cancel()
        assert link is not None
        assert link.pending == {}


async def test_what_a_link_without_a_socket_holds_fails_when_the_wait_is_over() -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "one", lambda: ref.ask(There.get))
            await ref.tell(There.note, 1)
            me.peer.down(KILLED, restarting=True, patience=1.0)
        assert ends == [("one", "NodeDown", 1.0)]
        assert [kind for kind, _ in me.events] == ["dead_letter"]
        assert me.host.backlog(ref) == 0


async def test_the_next_run_at_another_address_gets_what_the_link_without_a_socket_holds() -> None:
    async with here() as me:
        ref = me.ref()
        await ref.tell(There.note, 1)
        link = me.peer.link
        me.peer.drain("replaced", restarting=True, patience=math.inf)
        me.host.peer("a/0~5").up()
        me.host.node_moved("a/0", "a/0~5")
        assert me.host.peer_named("a/0").link is link
        assert me.asked == ["a/0", "a/0~5"]
        assert (me.host.backlog(ref), me.peer.waiting) == (1, False)


async def test_a_link_that_a_draining_node_asks_for_is_not_sent_over() -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        me.peer.drain("replaced", restarting=True, patience=math.inf)
        end, far = pair()
        me.peer.attach(end)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "one", lambda: ref.tell(There.note, 1))
            await anyio.wait_all_tasks_blocked()
            assert (ends, me.peer.link) == ([], None)
            me.peer.down("replaced", restarting=True, patience=math.inf)
            me.peer.up()
        far.close()
        assert me.asked == ["a/0"]


async def test_messages_wait_for_news_when_only_the_link_has_ended() -> None:
    async with here() as me:
        ends, ref = Ends(), me.ref()
        await ref.tell(There.note, 1)
        end, far = pair()
        me.peer.attach(end)
        link = me.peer.link
        assert link is not None
        link.close()
        me.peer.link_ended(link, 0.09)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.of, "tell", lambda: ref.tell(There.note, 1))
            await anyio.sleep(0.05)
            assert ends == []
        far.close()
        assert ends == [("tell", "sent", 0.09)]
        assert me.peer.link not in {None, link}
        assert me.asked == ["a/0", "a/0"]
