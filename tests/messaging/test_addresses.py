"""An address is copied, compared, printed and kept in data as what it is: one value."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import anyio
import pydantic
import pytest

from actors import Actor, System, pool


class Plain(Actor):
    async def own(self) -> int:
        return 1


@dataclasses.dataclass
class Holder:
    address: Any
    more: list[Any]


class Model(pydantic.BaseModel):
    address: Any


@pytest.mark.parametrize("kind", ["ref", "pool"])
async def test_an_address_is_copied_as_itself_and_takes_format_specs(kind: str) -> None:
    with anyio.fail_after(10):
        async with System() as system:
            address: Any = (
                await system.spawn(Plain)
                if kind == "ref"
                else await system.start(pool(Plain, size=2, on="local"))
            )
            assert copy.copy(address) is address
            assert copy.deepcopy([address])[0] is address
            assert dataclasses.asdict(Holder(address, [address]))["more"] == [address]
            model = Model(address=address)
            assert model.model_copy(deep=True).address is address
            assert model.model_copy().address is address
            shown = repr(address)
            assert (f"{address}", f"{address:>80}") == (shown, f"{shown:>80}")
            with pytest.raises(TypeError, match=r"cannot be pickled: .*; send it in a message"):
                pickle.dumps(address)
