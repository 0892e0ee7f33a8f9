"""An event loop that stands still harms nobody on other nodes."""

from pathlib import Path

import anyio
import httpx

from tests.end_to_end.chat_clients import Client, present
from tests.end_to_end.server_process import PATIENCE, ServerProcess


async def nodes_of(http: httpx.AsyncClient, served: ServerProcess, room: str) -> set[str]:
    """Return the web node of a room and its own."""
    async with present(Client(served, room, "scout")):
        answer = await http.get(served.url("http", "/where", room=room))
    return set(answer.json())


async def room_off(http: httpx.AsyncClient, served: ServerProcess, nodes: set[str]) -> str:
    """Return a room that has nothing to do with *nodes*."""
    for number in range(100):
        room = f"room {number}"
        if not await nodes_of(http, served, room) & nodes:
            return room
    raise AssertionError("100 rooms, and all of them on the same nodes")


async def test_a_room_that_blocks_its_loop_stops_neither_accepting_nor_the_rooms_of_other_nodes(
    tmp_path: Path,
) -> None:
    # Every request is a connection of its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    with ServerProcess(
        "run", "tests.end_to_end.blocking_chat:topology", folder=tmp_path, env={}
    ) as served:
        async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as http:
            blocked = await nodes_of(http, served, "stuck")
            fine = await room_off(http, served, blocked)
            waiting, going = Client(served, "stuck", "waiting"), Client(served, fine, "going")
            async with present(waiting, going), anyio.create_task_group() as tasks:
                answers: list[str] = []

                async def block(node: str, mark: Path) -> None:
                    query = {"room": fine, "node": node, "mark": mark, "seconds": 5.0}
                    answers.append((await http.get(served.url("http", "/block", **query))).text)

                for number, node in enumerate(blocked):
                    mark = tmp_path / f"blocked {number}"
                    tasks.start_soon(block, node, mark)
                    await there(mark)
                said = await waiting.say("who hears me?")
                await everything_works(http, served, fine, going)
                assert answers == []
                assert said in waiting.pending
                await waiting.hears(said)
            assert answers == ["free again"] * 2
            assert waiting.codes == going.codes == []


async def there(path: Path) -> None:
    """Wait until *path* is there: who makes it can say nothing else."""
    with anyio.fail_after(PATIENCE):
        while not await anyio.Path(path).exists():  # noqa: ASYNC110 - files do not tell
            await anyio.sleep(0.01)


async def everything_works(
    http: httpx.AsyncClient, served: ServerProcess, room: str, member: Client
) -> None:
    """Come to *room* twenty times, as a person and as a browser, and be heard by *member*."""
    for number in range(20):
        newcomer = Client(served, room, f"newcomer {number}")
        async with present(newcomer):
            await member.hears(await newcomer.talk("hello"))
        assert (await http.get(served.url("http", "/", room=room))).status_code == 200
