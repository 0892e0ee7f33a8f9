"""An event loop that stands still harms nobody on other nodes."""

from pathlib import Path

import anyio
import httpx

from tests.system.rig import Client, Served, present

SECONDS = 5.0


async def nodes_of(http: httpx.AsyncClient, served: Served, room: str) -> list[str]:
    """Return the web node of a room and its own, once it has been started."""
    async with present(Client(served, room, "scout")):
        answer = await http.get(served.url("http", "/where", room=room))
    nodes: list[str] = answer.json()
    return nodes


async def test_a_room_that_blocks_its_loop_stops_neither_accepting_nor_the_rooms_of_other_nodes(
    tmp_path: Path,
) -> None:
    limits = httpx.Limits(max_keepalive_connections=0)  # every request is a connection of its own
    with Served("run", "tests.system.blocking:topology", folder=tmp_path, env={}) as served:
        async with httpx.AsyncClient(timeout=30, limits=limits) as http:
            places = {f"room {n}": await nodes_of(http, served, f"room {n}") for n in range(16)}
            stuck = "room 0"
            fine = next(
                room
                for room, nodes in places.items()
                if not set(nodes) & set(places[stuck])
            )
            waiting, going = Client(served, stuck, "waiting"), Client(served, fine, "going")
            async with present(waiting, going), anyio.create_task_group() as tasks:
                ended: list[str] = []

                async def block(path: str, seat: str) -> None:
                    url = served.url("http", path, room=seat, node=places[stuck][1], seconds=SECONDS)
                    assert (await http.get(url)).json() == "done"
                    ended.append(path)

                tasks.start_soon(block, "/block-rooms", fine)
                tasks.start_soon(block, "/block-web", stuck)
                late = await waiting.say("who hears me?")

                for number in range(20):
                    newcomer = Client(served, fine, f"newcomer {number}")
                    async with present(newcomer):
                        words = await newcomer.say("hello")
                        await newcomer.until(lambda client: words not in client.pending)  # noqa: B023 - awaited here
                        await going.until(lambda client: client.said[-1:] == newcomer.said[-1:])  # noqa: B023 - as above
                    assert (await http.get(served.url("http", "/", room=fine))).status_code == 200
                assert not ended
                assert late in waiting.pending
            await_all = sorted(ended)
            assert await_all == ["/block-rooms", "/block-web"]
            again = Client(served, stuck, "again")
            async with present(again):
                await again.until(lambda client: client.seq == 1)
            assert again.said[0]["text"] == "who hears me?"
