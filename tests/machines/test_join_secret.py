"""The secret of a cluster: it lets agents in, and proves to them who the parent is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import anyio
import pytest

from actors.errors import InvalidSpec
from actors.machines.dial import OtherSecret, dial, dial_to_join
from actors.machines.hello import REFUSED, pack_hello
from actors.machines.join_secret import JoinSecret
from actors.machines.material import stranger_context
from actors.testing import eventually
from tests.machines.conftest import Guests, MakeEntrance, material

pytestmark = pytest.mark.within(20)
SECRET = JoinSecret(b"a secret of enough bytes", "this test")


async def test_who_has_the_secret_comes_in_again_and_again_without_a_certificate(
    entrance: MakeEntrance, guests: Guests
) -> None:
    door = entrance()
    door.standing(SECRET, guests.came, anonymous=True)
    for _ in range(3):
        session = await dial_to_join(door.address, None, SECRET, {"name": "web-0"})
        session.close()
    assert guests.hellos == [{"purpose": "join", "name": "web-0"}] * 3


async def test_who_has_another_secret_is_refused_and_so_is_one_by_whom_nobody_is_let_in(
    entrance: MakeEntrance, guests: Guests
) -> None:
    told: list[str] = []
    door = entrance(turned_away=lambda _count, _peer, why: told.append(why))
    door.standing(SECRET, guests.came, anonymous=True)
    other = JoinSecret(b"another secret of enough bytes", "this test")
    with pytest.raises(OtherSecret, match="it has another join secret, or none"):
        await dial_to_join(door.address, None, other, {})
    await eventually(lambda: told)
    assert told == ["it wants to join, and its secret is another one"]
    closed = entrance()
    with pytest.raises(ConnectionError, match="certificate required"):
        await dial_to_join(closed.address, None, SECRET, {})
    with pytest.raises(OtherSecret, match="it has another join secret, or none"):
        await dial_to_join(closed.address, material("run 2"), SECRET, {})
    assert not guests.sessions


async def test_who_has_no_certificate_gets_nothing_by_a_ticket(
    entrance: MakeEntrance, guests: Guests
) -> None:
    """The secret lets one join; the rest is for those to whom the authority has given a certificate."""
    door = entrance()
    door.standing(SECRET, guests.came, anonymous=True)
    ticket = door.expect("node", guests.came)

    def ask() -> bytes:
        with (
            socket.create_connection(door.address) as plain,
            stranger_context().wrap_socket(plain) as sock,
        ):
            sock.sendall(pack_hello(ticket, {"purpose": "node"}))
            return sock.recv(4)

    assert await anyio.to_thread.run_sync(ask) == REFUSED
    session = await dial(door.address, material("run 2"), ticket, {"purpose": "node"})
    session.close()
    assert len(guests.sessions) == 1


async def test_a_parent_that_has_not_the_secret_is_found_out(
    entrance: MakeEntrance, guests: Guests
) -> None:
    """It lets in whoever comes, to be given what it does not know."""
    door = entrance()
    door.standing(_LetsAllIn(b"a guess of enough bytes", "it"), guests.came, anonymous=True)
    with pytest.raises(OtherSecret, match="it is not the parent"):
        await dial_to_join(door.address, None, SECRET, {})


async def test_what_was_said_to_one_parent_lets_nobody_in_at_another(
    entrance: MakeEntrance, guests: Guests
) -> None:
    """Somebody in between has a certificate of its own, and passes on what it hears."""
    true, false = entrance(), JoinSecret(b"a secret of enough bytes", "this test")
    true.standing(SECRET, guests.came, anonymous=True)
    between = material("run 9")
    proof = SECRET.proof_of_joiner("nonce", between.der)
    hello = {"purpose": "join", "nonce": "nonce"}
    with pytest.raises(ConnectionError, match="the ticket is unknown"):
        await dial(true.address, material("run 2"), proof.hex(), hello)
    assert false.lets_in(proof.hex(), "nonce", between.der)
    assert not false.lets_in(proof.hex(), "another", between.der)
    assert not false.lets_in(
        false.proof_of_parent("nonce", between.der).hex(), "nonce", between.der
    )


@pytest.mark.parametrize("shown, nonce", [(None, "n"), (5, "n"), ("x", None), ("é" * 64, "n")])
def test_what_is_no_proof_lets_nobody_in(shown: object, nonce: object) -> None:
    assert not SECRET.lets_in(shown, nonce, b"certificate")


@pytest.mark.parametrize(
    "text, mode, why",
    [
        ("short", 0o600, "join_secret='.*' must hold 16 to 4096 bytes, it has 5: `openssl rand"),
        ("x" * 5000, 0o600, "must hold 16 to 4096 bytes, it has 5000"),
        ("enough bytes for a secret", 0o604, "has mode 0604, which lets everybody .*chmod 600"),
        ("\ufeff", 0o600, "must hold 16 to 4096 bytes, it has 0"),
        (None, 0, "join_secret='.*' cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_has_no_good_secret_is_refused(
    tmp_path: Path, text: str | None, mode: int, why: str
) -> None:
    path = tmp_path / "secret"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(InvalidSpec, match=why):
        JoinSecret.from_file(path)


def test_a_secret_is_read_from_a_regular_file_and_nobody_is_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "secret"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(InvalidSpec, match=r"join_secret='.*/secret' cannot be read: it is no reg"):
        JoinSecret.from_file(pipe)


def test_the_mark_that_some_editors_put_before_a_text_is_none_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"\xef\xbb\xbfa secret of enough bytes\r\n")
    path.chmod(0o600)
    proof = JoinSecret.from_file(path).proof_of_joiner("nonce", b"certificate")
    assert proof == SECRET.proof_of_joiner("nonce", b"certificate")


def test_white_space_around_a_secret_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("  a secret of enough bytes\n\n")
    path.chmod(0o640)
    proof = JoinSecret.from_file(path).proof_of_joiner("nonce", b"certificate")
    assert proof == SECRET.proof_of_joiner("nonce", b"certificate")
    assert "enough" not in repr(SECRET)


class _LetsAllIn(JoinSecret):
    """Of a parent that lies."""

    def lets_in(self, *_shown: object) -> bool:
        return True
