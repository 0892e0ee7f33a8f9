"""Who comes in by an entrance: those whom this program gave a ticket, once, for what it is for."""

from __future__ import annotations

import socket
import threading
from typing import Any

import anyio
import pytest

from actors.errors import InvalidSpec
from actors.machines.authority import Authority, Material
from actors.machines.dial import dial
from tests.machines.conftest import Guests, MakeEntrance, material

pytestmark = pytest.mark.within(20)


async def test_a_ticket_lets_one_connection_in_which_then_carries_bytes(
    entrance: MakeEntrance, guests: Guests
) -> None:
    door = entrance()
    ticket = door.expect("node", guests.came)
    session = await dial(door.address, material("run 2"), ticket, {"pid": 7, "purpose": "node"})
    await guests.wait()
    assert guests.hellos == [{"pid": 7, "purpose": "node"}]
    assert (session.peer_name, guests.sessions[0].peer_name) == ("run 1", "run 2")
    session.send(b"bytes")
    room = memoryview(bytearray(10))
    await anyio.wait_readable(guests.sessions[0])
    assert guests.sessions[0].recv_into(room) == 5
    session.close()


async def test_a_ticket_is_good_once(entrance: MakeEntrance, guests: Guests) -> None:
    door = entrance()
    ticket = door.expect("node", guests.came)
    session = await dial(door.address, material("run 2"), ticket, {})
    with pytest.raises(ConnectionError, match="the ticket is unknown, used, or for something else"):
        await dial(door.address, material("run 2"), ticket, {})
    session.close()
    assert len(guests.sessions) == door.refused == 1


async def test_a_ticket_of_one_purpose_is_refused_for_another_and_stays_good(
    entrance: MakeEntrance, guests: Guests
) -> None:
    door = entrance()
    ticket = door.expect("lease", guests.came)
    with pytest.raises(ConnectionError, match="for something else"):
        await dial(door.address, material("run 2"), ticket, {"purpose": "node"})
    session = await dial(door.address, material("run 2"), ticket, {"purpose": "lease"})
    session.close()


@pytest.mark.parametrize("ticket", ["", "node.0123456789abcdef", "x" * 3000, "\N{SNOWMAN}"])
async def test_a_ticket_that_nobody_gave_out_is_refused(
    entrance: MakeEntrance, guests: Guests, ticket: str
) -> None:
    door = entrance()
    door.expect("node", guests.came)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:\d+ did not let us in"):
        await dial(door.address, material("run 2"), ticket, {})


async def test_a_ticket_of_another_entrance_is_refused(
    entrance: MakeEntrance, guests: Guests
) -> None:
    one, other = entrance(), entrance()
    with pytest.raises(ConnectionError, match="the ticket is unknown"):
        await dial(one.address, material("run 2"), other.expect("node", guests.came), {})


async def test_a_forgotten_ticket_is_refused(entrance: MakeEntrance, guests: Guests) -> None:
    door = entrance()
    ticket = door.expect("node", guests.came)
    door.forget(ticket)
    door.forget(ticket)
    with pytest.raises(ConnectionError, match="the ticket is unknown"):
        await dial(door.address, material("run 2"), ticket, {})


async def test_a_certificate_of_another_system_does_not_come_in(
    entrance: MakeEntrance, guests: Guests
) -> None:
    door = entrance()
    ticket = door.expect("node", guests.came)
    theirs = Authority.new().issue("run 2")
    with pytest.raises(ConnectionError, match="certificate verify failed"):
        await dial(door.address, theirs, ticket, {})
    trusting = Material(
        ca=material("run 1").ca,
        certificate=theirs.certificate,
        key=theirs.key,
        server=material("run 1").server,
    )
    with pytest.raises(ConnectionError, match="did not let us in"):
        await dial(door.address, trusting, ticket, {})
    assert not guests.sessions


async def test_a_user_dials_the_name_that_is_in_the_certificate(
    entrance: MakeEntrance, guests: Guests
) -> None:
    run = material("run 2")
    own = Material(ca=run.ca, certificate=run.certificate, key=run.key)
    door = entrance(own)
    with pytest.raises(ConnectionError, match="IP address mismatch"):
        await dial(door.address, own, door.expect("node", guests.came), {})


async def test_plain_tcp_goes_between_programs_of_one_machine(
    entrance: MakeEntrance, guests: Guests
) -> None:
    door = entrance(None)
    session = await dial(door.address, None, door.expect("node", guests.came), {"n": 1})
    await guests.wait()
    assert guests.hellos == [{"n": 1}]
    session.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - they are refused
async def test_plain_tcp_is_refused_where_other_machines_reach_it(
    entrance: MakeEntrance, host: str
) -> None:
    with pytest.raises(InvalidSpec, match=f"plain TCP is for 127.0.0.1 and ::1, not for {host}"):
        entrance(None, host=host)


async def test_an_address_that_is_taken_is_told(entrance: MakeEntrance) -> None:
    _, port = entrance().address
    with pytest.raises(InvalidSpec, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
        entrance(port=port)


async def test_nobody_at_the_address_is_told(entrance: MakeEntrance) -> None:
    door = entrance()
    door.close()
    host, port = door.address
    with pytest.raises(
        ConnectionError, match=f"{host}:{port} did not let us in: Connection refused"
    ):
        await dial(door.address, material("run 2"), "ticket", {})


async def test_a_listener_that_never_answers_is_given_up(entrance: MakeEntrance) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ConnectionError, match=r"no answer within 0.2 s"),
    ):
        await dial(silent.getsockname(), material("run 2"), "ticket", {}, within=0.2)


async def test_a_hello_that_is_too_large_is_refused_where_it_is_made(
    entrance: MakeEntrance,
) -> None:
    with pytest.raises(ValueError, match="a hello has at most 4096 bytes, this one 50"):
        await dial(entrance().address, material("run 2"), "ticket", {"x": "y" * 5000})


async def test_a_thread_may_have_a_session(entrance: MakeEntrance, guests: Guests) -> None:
    door = entrance()
    ticket = door.expect("lease", guests.came)
    said: list[bytes] = []
    session = await dial(door.address, material("run 2"), ticket, {"purpose": "lease"})

    def work() -> None:
        session.send_waiting(b"question", 5)
        said.append(session.receive_waiting(6, 5))
        session.close()

    await anyio.to_thread.run_sync(_beside, work, guests)
    assert said == [b"answer"]


def _beside(work: Any, guests: Guests) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    while not guests.sessions:
        threading.Event().wait(0.001)
    session = guests.sessions[0]
    assert session.receive_waiting(8, 5) == b"question"
    session.send_waiting(b"answer", 5)
    thread.join()
