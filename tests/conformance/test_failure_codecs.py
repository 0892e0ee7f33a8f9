"""Values that cannot travel, on every way one can take: whoever waits is told, and the actor lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import anyio
import pytest

from actors import Ref
from actors.errors import NotSendable
from actors.transport import RemoteError
from tests.conformance.failing_actors import Coin, Mint, Shapeless
from tests.conformance.scenario import Scenario


class Case(NamedTuple):
    """What somebody does, and what it raises: on the sender's own node, and on another."""

    name: str
    act: Callable[[Scenario, Ref[Mint]], Awaitable[Any]]
    here: type[BaseException]
    there: type[BaseException]
    text: str


async def _items(ref: Ref[Mint], fails: str) -> None:
    async with ref.stream(Mint.coins, fails) as items:
        async for item in items:
            assert item.fails == ""


CASES = [
    Case(
        "an argument that cannot be encoded",
        lambda _, ref: ref.ask(Mint.take, Coin("encode")),
        *(LookupError, LookupError),
        "codec: encode",
    ),
    Case(
        "a tell that cannot be encoded",
        lambda _, ref: ref.tell(Mint.take, Coin("encode")),
        *(LookupError, LookupError),
        "codec: encode",
    ),
    Case(
        "an argument that cannot be decoded",
        lambda _, ref: ref.ask(Mint.take, Coin("decode")),
        *(LookupError, NotSendable),
        "codec: decode",
    ),
    Case(
        "a reply that cannot be encoded",
        lambda _, ref: ref.ask(Mint.give, "encode"),
        *(NotSendable, NotSendable),
        "reply: its codec raised LookupError: codec: encode",
    ),
    Case(
        "a reply that cannot be decoded",
        lambda _, ref: ref.ask(Mint.give, "decode"),
        *(NotSendable, NotSendable),
        "codec: decode",
    ),
    Case(
        "a reply that cannot travel",
        lambda _, ref: ref.ask(Mint.lock),
        *(NotSendable, NotSendable),
        r"reply\[0\]: cannot send",
    ),
    Case(
        "an item that cannot be encoded",
        lambda _, ref: _items(ref, "encode"),
        *(LookupError, LookupError),
        "codec: encode",
    ),
    Case(
        "an item that cannot be decoded",
        lambda _, ref: _items(ref, "decode"),
        *(LookupError, NotSendable),
        "codec: decode",
    ),
    Case(
        "an error of a class nobody can import",
        lambda _, ref: ref.ask(Mint.unheard),
        *(Exception, RemoteError),
        "of a class nobody can import",
    ),
    Case(
        "a constructor argument that cannot be encoded",
        lambda scenario, _: scenario.spawn(Mint, Coin("encode"), name="mint"),
        *(LookupError, LookupError),
        "codec: encode",
    ),
    Case(
        "a constructor argument that cannot be decoded",
        lambda scenario, _: scenario.spawn(Mint, Coin("decode"), name="mint"),
        *(LookupError, NotSendable),
        "codec: decode",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_codec_that_fails_is_told_to_whoever_waits(scenario: Scenario, case: Case) -> None:
    with anyio.fail_after(20):
        ref = await scenario.spawn(Mint)
        with pytest.raises(case.here if scenario.local else case.there, match=case.text):
            await case.act(scenario, ref)
        assert await ref.ask(Mint.incarnation) == 1
        assert await scenario.gone("mint")


async def test_an_error_that_cannot_say_its_text_reaches_the_asker(scenario: Scenario) -> None:
    with anyio.fail_after(20):
        ref = await scenario.spawn(Mint)
        with pytest.raises((Shapeless, RemoteError)):
            await ref.ask(Mint.shapeless)
        assert await ref.ask(Mint.incarnation) == 1


async def test_a_tell_that_cannot_be_decoded_is_a_dead_letter(scenario: Scenario) -> None:
    if scenario.local:
        return  # there it is the sender who is told: see the table
    with anyio.fail_after(20):
        ref = await scenario.spawn(Mint)
        await ref.tell(Mint.take, Coin("decode"))
        letter = await scenario.until("dead_letter", message="take")
        assert "LookupError: codec: decode" in letter.facts["reason"]
        assert await ref.ask(Mint.incarnation) == 1


@pytest.mark.parametrize("method", [Mint.shapeless, Mint.unheard], ids=["shapeless", "unheard"])
async def test_a_crash_by_an_error_that_cannot_be_rebuilt_is_told_and_restarts(
    scenario: Scenario, method: Any
) -> None:
    with anyio.fail_after(20):
        ref = await scenario.spawn(Mint, name="mint")
        await ref.tell(method)
        assert await ref.ask(Mint.incarnation) == 2
        ended = await scenario.until("child_ended", child="mint")
        assert ended.facts["exit"].startswith("CRASHED(")
