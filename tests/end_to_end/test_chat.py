"""The chat as its users have it: real processes, real sockets, and every kind of bad day."""

import json
import signal
from pathlib import Path

import anyio
import httpx
from websockets.asyncio.client import connect

from tests.end_to_end.chat_clients import Client, check_one_history, present
from tests.end_to_end.server_process import PATIENCE, ServerProcess


async def all_of(clients: list[Client], last: int) -> None:
    """Wait until all of *clients* have heard everything up to the message *last*."""
    for client in clients:
        await client.hears_up_to(last)


async def sees_everybody(room: list[Client]) -> None:
    """Wait until everybody in *room* knows who is there, and nobody twice."""
    names = sorted(client.name for client in room)
    for client in room:
        await client.until(lambda client: client.people == names)


async def chatter(client: Client, times: int) -> None:
    """Say something *times* times, each when the last has come back."""
    for number in range(times):
        await client.talk(f"{client.name} says {number}")


async def test_every_member_of_a_room_hears_every_message_once_in_one_order_from_one_node(
    chat: ServerProcess,
) -> None:
    rooms = [
        [Client(chat, f"room {number}", f"member-{number}-{seat}") for seat in range(5)]
        for number in range(8)
    ]
    everybody = [client for room in rooms for client in room]
    async with present(*everybody):
        async with anyio.create_task_group() as tasks:
            for client in everybody:
                tasks.start_soon(chatter, client, 10)
        await all_of(everybody, 50)
        for room in rooms:
            await sees_everybody(room)
    for room in rooms:
        check_one_history(room)
        assert len({node for client in room for node in client.nodes}) == 1
    assert len({client.nodes[0] for client in everybody}) > 1
    assert {code for client in everybody for code in client.codes} == set()


async def test_newcomers_get_the_last_fifty_or_all_after_the_one_they_had(
    chat: ServerProcess,
) -> None:
    writer = Client(chat, "history", "writer")
    newcomer = Client(chat, "history", "newcomer")
    returning = Client(chat, "history", "returning")
    returning.seq = 7
    async with present(writer):
        for number in range(400):
            await writer.say(f"line {number}")
        await writer.hears_up_to(400)
        async with present(newcomer, returning):
            await all_of([newcomer, returning], 400)
    assert [said["seq"] for said in newcomer.said] == list(range(351, 401))
    assert [said["seq"] for said in returning.said] == list(range(8, 401))
    assert newcomer.wrong == returning.wrong == []
    assert returning.said == writer.said[7:]


async def talk_until(over: anyio.Event, client: Client) -> None:
    """Say one thing after the other."""
    while not over.is_set():
        await chatter(client, 1)


async def goes_on(clients: list[Client]) -> None:
    """Wait until every one of *clients* has heard ten more messages."""
    for client, more in [(client, len(client.said) + 10) for client in clients]:
        await client.hears_up_to(more)


async def test_no_gap_and_no_double_after_kill_9_of_a_web_node_and_then_of_the_rooms_node(
    chat: ServerProcess,
) -> None:
    rooms = [
        [Client(chat, f"bad day {number}", f"day-{number}-{seat}") for seat in range(3)]
        for number in range(6)
    ]
    everybody = [client for room in rooms for client in room]
    over = anyio.Event()
    async with present(*everybody):
        async with anyio.create_task_group() as tasks:
            for client in everybody:
                tasks.start_soon(talk_until, over, client)
            await goes_on(everybody)
            await kill_web_node_of(rooms[0][0], everybody, chat)
            await kill_rooms_node(everybody, chat)
            over.set()
        for room in rooms:
            await all_of(room, max(len(client.said) for client in room))
            await sees_everybody(room)
    for room in rooms:
        check_one_history(room)


async def kill_web_node_of(client: Client, everybody: list[Client], chat: ServerProcess) -> None:
    """Kill a web node; it comes back to its slot and its rooms, and nobody else notices."""
    node = client.nodes[0]
    hit = [client for client in everybody if client.nodes == [node]]
    spared = [client for client in everybody if client not in hit]
    assert spared
    chat.signal(node, signal.SIGKILL)
    await goes_on(everybody)
    assert [client.codes for client in spared] == [[] for _ in spared]
    assert [client.codes for client in hit] == [[1006] for _ in hit]
    await chat.hears("node ready", node=node, restarts=1)
    newcomer = Client(chat, client.room, "newcomer")
    async with present(newcomer):
        assert newcomer.nodes == [node]


async def kill_rooms_node(everybody: list[Client], chat: ServerProcess) -> None:
    """Kill the node of all rooms: everybody is told to come again, and can."""
    chat.signal("rooms/0", signal.SIGKILL)
    for client in everybody:
        await client.until(lambda client: 1013 in client.codes)
    await goes_on(everybody)
    await chat.hears("node ready", node="rooms/0", restarts=1)


async def flood(client: Client, messages: int) -> None:
    """Say long things until the room's last number is *messages*, as fast as they come back."""
    while (client.seq or 0) + len(client.pending) < messages:
        await client.say("flood ".ljust(4_000, "."))
        if len(client.pending) >= 50:
            await client.until(lambda client: len(client.pending) < 25)
    await client.hears_up_to(messages)


async def test_a_stopped_web_node_stalls_its_own_members_only_and_nobodys_memory_grows(
    chat: ServerProcess,
) -> None:
    messages = 6_000
    flooder = Client(chat, "flooded", "flooder")
    listener = Client(chat, "flooded", "listener")
    async with present(flooder, listener):
        assert flooder.nodes == listener.nodes
        stalled = Client(chat, "flooded", "stalled", seat=await seat_off(chat, flooder.nodes[0]))
        async with present(stalled):
            assert stalled.nodes != flooder.nodes
            await listener.hears(await flooder.talk("first"))
            await stalled.hears_up_to(1)
            nodes = ["rooms/0", flooder.nodes[0], None]
            before = [chat.rss(node) for node in nodes]
            chat.signal(stalled.nodes[0], signal.SIGSTOP)
            try:
                await flood(flooder, messages)
                await listener.hears_up_to(messages)
                grown = [chat.rss(node) - had for node, had in zip(nodes, before, strict=True)]
                assert (stalled.seq or 0) < messages
            finally:
                chat.signal(stalled.nodes[0], signal.SIGCONT)
            await stalled.hears_up_to(messages)
    check_one_history([flooder, listener, stalled])
    assert max(grown) < 12 * 1024 * 1024  # of 24 that were said
    assert [client.codes for client in (flooder, listener, stalled)] == [[], [], []]


async def seat_off(chat: ServerProcess, node: str) -> str:
    """Return a room that belongs to another web node than *node*."""
    for number in range(64):
        scout = Client(chat, f"seat-{number}", "scout")
        async with present(scout):
            if scout.nodes != [node]:
                return scout.room
    raise AssertionError("64 rooms, and all of them on one node")


async def test_a_client_that_does_not_read_holds_up_nobody_and_gets_everything_in_the_end(
    chat: ServerProcess,
) -> None:
    messages = 6_000
    flooder, slow = Client(chat, "slow", "flooder"), Client(chat, "slow", "slow", queue=4)
    async with present(flooder, slow):
        await slow.hears(await flooder.talk("first"))
        before = chat.rss(slow.nodes[0])
        slow.reads = anyio.Event()
        await flood(flooder, messages)
        assert (slow.seq or 0) < messages
        grown = chat.rss(slow.nodes[0]) - before
        slow.reads.set()
        await slow.hears_up_to(messages)
    check_one_history([flooder, slow])
    assert grown < 12 * 1024 * 1024
    assert slow.codes == []


async def test_private_messages_and_who_is_typing_reach_whom_they_should_from_node_to_node(
    chat: ServerProcess,
) -> None:
    ann, bob, eve = (Client(chat, "secrets", name) for name in ("ann", "bob", "eve"))
    async with present(ann, bob):
        eve.seat = await seat_off(chat, ann.nodes[0])
        async with present(eve):
            assert eve.nodes != ann.nodes
            await ann.say("psst", to="bob")
            await eve.say("pssst", to="ann")
            await ann.say("hello all")
            await all_of([ann, bob, eve], 3)
            await types_until_seen(ann, [bob, eve])
    assert {said["text"] for said in ann.said} == {"psst", "pssst", "hello all"}
    assert {said["text"] for said in bob.said} == {"psst", "hello all"}
    assert {said["text"] for said in eve.said} == {"pssst", "hello all"}
    assert (len(ann.hidden), len(bob.hidden), len(eve.hidden)) == (0, 1, 1)
    assert [client.wrong for client in (ann, bob, eve)] == [[], [], []]
    assert (set(ann.typing), set(bob.typing), set(eve.typing)) == (set(), {"ann"}, {"ann"})


async def types_until_seen(client: Client, others: list[Client]) -> None:
    """Go on typing, as people do: a hint may be lost, and who comes later gets none of before."""
    with anyio.fail_after(PATIENCE):
        while not all(other.typing for other in others):
            await client.types()
            await anyio.sleep(0.1)


async def test_who_floods_a_room_is_slowed_down_and_loses_nothing(tmp_path: Path) -> None:
    arguments = ("run", "examples.chat:topology", "--nodes", "web=1")
    with ServerProcess(*arguments, folder=tmp_path, env={"CHAT_PACE": "20"}) as chat:
        flooder = Client(chat, "calm", "flooder")
        async with present(flooder):
            began = anyio.current_time()
            for number in range(40):
                await flooder.say(f"line {number}")
            await flooder.hears_up_to(40)
            took = anyio.current_time() - began
    check_one_history([flooder])
    assert took > 0.9  # twenty at once, and the others at twenty a second


async def test_the_page_gives_a_cookie_that_makes_a_name_its_own(chat: ServerProcess) -> None:
    names = []
    async with httpx.AsyncClient() as http:
        for _ in range(2):
            await http.get(chat.url("http", "/", room="names"))
            names.append(await own_name(chat, http.cookies["chat_key"]))
    async with httpx.AsyncClient() as http:
        await http.get(chat.url("http", "/"))
        names.append(await own_name(chat, http.cookies["chat_key"]))
    assert names[0] == names[1] != names[2]
    assert [name.partition("#")[0] for name in names] == ["ann"] * 3


async def own_name(chat: ServerProcess, key: str) -> str:
    """Return what others get as the name of an ann who has that cookie."""
    url = chat.url("ws", "/ws", room="names", name="ann")
    async with connect(url, additional_headers={"Cookie": f"chat_key={key}"}) as socket:
        welcome = json.loads(await socket.recv())
    assert welcome["you"] in welcome["people"]
    return str(welcome["you"])


async def test_bad_input_is_refused_by_name_and_the_rest_goes_on(chat: ServerProcess) -> None:
    client = Client(chat, "manners", "guest")
    async with present(client):
        assert client._socket is not None
        for data in ("{", "[1]", '{"type":"shout"}', '{"type":"say","id":7,"text":"x"}', b"bytes"):
            await client._socket.send(data)
        await client.say("x" * 4001)
        await client.until(lambda client: len(client.errors) == 6)
        await chatter(client, 1)
    texts = [error["error"] for error in client.errors]
    assert texts[0].startswith("a message must be JSON, got '{': ")
    assert texts[1:5] == [
        "a message must be a JSON object, got [1]",
        'type must be "say" or "typing", got \'shout\'',
        "id must be text, got 7",
        "a message must be text, got 5 bytes",
    ]
    assert texts[5].startswith("text must have at most 4000 characters, got 4001 characters: 'xxx")
    assert client.errors[5]["id"] == "guest-1"


async def test_the_page_names_its_node_and_sets_the_room_for_the_next_request(
    chat: ServerProcess,
) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(chat.url("http", "/", room="kitchen"))
        again = await http.get(chat.url("http", "/"), headers={"cookie": "room=kitchen"})
        nothing = await http.get(chat.url("http", "/nothing"))
    assert answer.status_code == 200
    assert answer.headers["x-actors-node"] == again.headers["x-actors-node"]
    assert answer.headers["x-actors-node"].startswith("web/")
    assert nothing.status_code == 404
    assert nothing.headers["x-actors-node"].startswith("web/")
    assert answer.cookies["room"] == "kitchen"
    assert "<!doctype html>" in answer.text.lower()
