"""Sessions whose ids the application makes, over four nodes, each request on a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

import actors
from actors import Sticky, System, Topology, asgi, keys, listen, nodes
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.errors import NotSticky
from actors.routing import Router
from actors.testing import running_system

PATIENCE = 40.0
KEY = keys.cookie("sid") | keys.header("x-session") | keys.query("sid")

pytestmark = pytest.mark.usefixtures("no_leaks")


class Site:
    """Four nodes that serve the application, and a client without a keep-alive connection."""

    def __init__(self, system: System, http: httpx.AsyncClient) -> None:
        self.system = system
        self.http = http

    @property
    def router(self) -> Router:
        router = coordinator_of(self.system).listeners[0].router
        assert isinstance(router, Router)
        return router

    async def logins(self, count: int) -> dict[str, str]:
        """Begin sessions; return the node of each by its id."""
        made = {}
        for _ in range(count):
            response = await self.http.post("/login")
            made[response.headers["x-session"]] = response.text
            self.http.cookies.clear()
        return made

    async def joins(self, count: int) -> dict[str, str]:
        """Begin sessions whose id is in the body; return the node of each by its id."""
        answers = [(await self.http.post("/join")).json() for _ in range(count)]
        return {answer["sid"]: answer["node"] for answer in answers}

    async def me(self, way: str, sid: str) -> str:
        """Ask for a session, and say its id in one of three ways."""
        headers = {"cookie": {"cookie": f"sid={sid}"}, "header": {"x-session": sid}}.get(way, {})
        query = {"sid": sid} if way == "query" else {}
        return (await self.http.get("/me", headers=headers, params=query)).text


@asynccontextmanager
async def site(count: int = 4) -> AsyncIterator[Site]:
    listener = listen(
        asgi("tests.end_to_end.login_app:app"), "127.0.0.1:0", policy=Sticky(KEY), nodes="web"
    )
    topology = Topology(nodes=[nodes("web", count=count)], listeners=[listener])
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system:
            router = coordinator_of(system).listeners[0].router
            assert router is not None
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{router.port}",
                headers={"connection": "close"},
                timeout=PATIENCE,
                trust_env=False,
            ) as http:
                yield Site(system, http)


async def heard(events: AsyncIterator[Event], kind: str) -> None:
    async for event in events:
        if event.kind == kind:
            return


async def test_16_of_16_sessions_work_and_go_home_after_their_node_was_killed() -> None:
    async with site() as web:
        made = await web.logins(16)
        joined = await web.joins(16)
        assert set(made.values()) == {f"web/{slot}" for slot in range(4)}
        for sid, node in made.items():
            for way in ("cookie", "header", "query"):
                assert await web.me(way, sid) == f"{node} somebody"
        for sid, node in joined.items():
            assert await web.me("query", sid) == f"{node} somebody"
        assert 0 < web.router.snapshot().learned <= 16

        events = web.system.events()
        next(node for node in web.system.nodes if node.name == "web/2").kill()
        await heard(events, "node_ready")
        for sid, node in {**made, **joined}.items():
            user = "session unknown" if node == "web/2" else "somebody"
            assert await web.me("query", sid) == f"{node} {user}"


async def test_a_slot_that_is_scaled_away_takes_its_sessions_along_and_leaves_the_others() -> None:
    async with site(3) as web:
        made = await web.logins(12)
        await web.system.scale("web", 2)
        kept = {sid: node for sid, node in made.items() if node != "web/2"}
        assert web.router.snapshot().learned <= len(kept)
        assert [await web.me("cookie", sid) for sid in kept] == [
            f"{node} somebody" for node in kept.values()
        ]
        assert {await web.me("cookie", sid) for sid in set(made) - set(kept)} <= {
            "web/0 session unknown",
            "web/1 session unknown",
        }
        await web.system.scale("web", 4)
        moved = [await web.me("cookie", sid) for sid in kept]
        bound = sum(
            said == f"{node} somebody" for said, node in zip(moved, kept.values(), strict=True)
        )
        assert bound >= web.router.snapshot().learned  # the others are with the hash


async def test_a_parent_that_stalls_delays_a_login_and_loses_no_response() -> None:
    async with site(2) as web:
        events = web.system.events()
        notes = coordinator_of(web.system).host.handlers.notes
        bind_keys = notes["bind_keys"]
        stalled: list[Any] = []
        notes["bind_keys"] = lambda *asked: stalled.append(asked)
        late: dict[str, str] = {}
        while not stalled:
            late = await web.logins(1)
        await heard(events, "key_unlearned")
        assert web.router.snapshot().unlearned == 1
        bind_keys(*stalled.pop())  # late is better than never
        assert await web.me("cookie", *late) == f"{late.popitem()[1]} somebody"
        notes["bind_keys"] = bind_keys
        ((sid, node),) = (await web.logins(1)).items()
        assert await web.me("cookie", sid) == f"{node} somebody"


async def test_an_id_is_made_only_where_a_sticky_listener_is_served() -> None:
    with pytest.raises(
        NotSticky, match=r"^sticky_id\(\) makes ids .*: this code runs in no system$"
    ):
        actors.sticky_id()
    async with System():
        with pytest.raises(NotSticky, match="this process leaves that to its nodes"):
            actors.sticky_id()
    async with System(Topology(nodes=[nodes("work", kind="thread")])) as system:
        maker = await system.spawn(Maker, on="work")
        assert (await maker.ask(Maker.make)).endswith(
            "work/0 has no such listener, or does not take connections yet"
        )


class Maker(actors.Actor):
    async def make(self) -> str:
        try:
            return actors.sticky_id()
        except NotSticky as error:
            return str(error)
