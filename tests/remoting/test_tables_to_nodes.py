"""Values of other libraries reach nodes of every kind, also those that have not imported the library."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from actors import Topology, nodes
from actors.testing import running_system
from tests.contracts.contract_actors import Keeper


# What is under test has no loop.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_tables_and_images_reach_nodes_of_every_kind() -> None:
    image = Image.new("RGB", (300, 300), (1, 2, 3))
    table = pa.table({"a": np.arange(20_000), "b": ["x"] * 20_000})
    frame = pd.DataFrame({"a": np.arange(20_000), "b": pd.Categorical(["x"] * 20_000)})
    groups = [nodes("process"), nodes("thread", kind="thread")]
    with anyio.fail_after(50):
        async with running_system(Topology(nodes=groups)) as system:
            for place in ("process/0", "thread/0", system.node.name):
                keeper = await system.spawn(Keeper, on=place)
                back: Any = None
                for _ in range(2):  # the first of a size finds no memory that is warm
                    back = await keeper.ask(Keeper.echo, [image, table, frame, pl.DataFrame(table)])
                    assert back[0] == image
                    assert back[1].equals(table)
                    assert back[2].equals(frame)
                    assert back[3].equals(pl.DataFrame(table))
                assert await keeper.ask(Keeper.echo, Counter("ab")) == Counter("ab")
                del back
