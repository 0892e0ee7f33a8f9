"""The chat as its users have it: real processes, real sockets, and every kind of bad day."""

import signal

import anyio
import httpx

from tests.system.rig import Client, Served, check_one_history, present


async def all_of(clients: list[Client], last: int) -> None:
    """Wait until all of *clients* have heard everything up to the message *last*."""
    for client in clients:
        await client.hears_up_to(last)


async def chatter(client: Client, times: int) -> None:
    """Say something *times* times, each when the last has come back."""
    for number in range(times):
        await client.talk(f"{client.name} says {number}")


async def test_every_member_of_a_room_hears_every_message_once_in_one_order_from_one_node(
    chat: Served,
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
            names = sorted(client.name for client in room)
            for client in room:
                await client.until(lambda client: client.people == names)  # noqa: B023 - as above
    for room in rooms:
        check_one_history(room)
        assert len({node for client in room for node in client.nodes}) == 1
    assert len({client.nodes[0] for client in everybody}) > 1
    assert {code for client in everybody for code in client.codes} == set()


async def test_newcomers_get_the_last_fifty_or_all_after_the_one_they_had(chat: Served) -> None:
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
    chat: Served,
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
    for room in rooms:
        check_one_history(room)


async def kill_web_node_of(client: Client, everybody: list[Client], chat: Served) -> None:
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


async def kill_rooms_node(everybody: list[Client], chat: Served) -> None:
    """Kill the node of all rooms: everybody is told to come again, and can."""
    chat.signal("rooms/0", signal.SIGKILL)
    for client in everybody:
        await client.until(lambda client: 1013 in client.codes)
    await goes_on(everybody)
    await chat.hears("node ready", node="rooms/0", restarts=1)


async def test_a_stopped_web_node_stalls_its_own_members_only_and_nobodys_memory_grows(
    chat: Served,
) -> None:
    messages = 6_000
    flooder = Client(chat, "flooded", "flooder")
    others = [await _elsewhere(chat, flooder, f"other {number}") for number in range(2)]
    stalled = others[0]
    async with present(flooder, *others):
        node = stalled.nodes[0]
        assert others[1].nodes[0] == node != flooder.nodes[0]
        await chatter(flooder, 1)
        await all_of(others, 1)
        before = chat.rss("rooms/0"), chat.rss()
        chat.signal(node, signal.SIGSTOP)
        try:
            for number in range(1, messages):
                await flooder.say(f"{number}".ljust(4_000, "."))
                if number % 50 == 0:
                    await flooder.until(lambda client: len(client.pending) < 50)
            await all_of([flooder], messages)
            grown = chat.rss("rooms/0") - before[0], chat.rss() - before[1]
            assert (stalled.seq or 0) < messages
        finally:
            chat.signal(node, signal.SIGCONT)
        await all_of(others, messages)
    check_one_history([flooder, *others])
    assert max(grown) < 12 * 1024 * 1024
    assert [client.codes for client in (flooder, *others)] == [[], [], []]


async def _elsewhere(chat: Served, client: Client, name: str) -> Client:
    """Return a member of *client*'s room who is on another node."""
    async with present(client):
        own = client.nodes[-1]
    client.nodes.clear()
    for number in range(64):
        found = Client(chat, client.room, name, seat=f"seat-{number}")
        async with present(found):
            node = found.nodes[0]
        if node != own:
            return Client(chat, client.room, name, seat=f"seat-{number}")
    raise AssertionError("64 keys, and all of them on one node")


async def test_bad_input_is_refused_by_name_and_the_rest_goes_on(chat: Served) -> None:
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
        "type must be \"say\", got 'shout'",
        "id must be text, got 7",
        "a message must be text, got 5 bytes",
    ]
    assert texts[5].startswith("text must have at most 4000 characters, got 4001 characters: 'xxx")
    assert client.errors[5]["id"] == "guest-1"


async def test_the_page_names_its_node_and_sets_the_room_for_the_next_request(chat: Served) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(chat.url("http", "/", room="kitchen"))
        again = await http.get(chat.url("http", "/"), headers={"cookie": "room=kitchen"})
    assert answer.status_code == 200
    assert answer.headers["x-actors-node"] == again.headers["x-actors-node"]
    assert answer.headers["x-actors-node"].startswith("web/")
    assert answer.cookies["room"] == "kitchen"
    assert "<!doctype html>" in answer.text.lower()
