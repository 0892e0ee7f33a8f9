"""A system with everything that the dashboard shows."""

from __future__ import annotations

import time
from typing import Any

import anyio
from prometheus_client import Counter as Counts, Gauge, Histogram

from actors import (
    Actor,
    Topology,
    asgi,
    child,
    dynamic,
    listen,
    nodes,
    pool,
    program,
    supervisor,
)

ADDED = Counts("shop_added", "Things added.", ["shelf"]).labels("<top>")
LASTED = Histogram("shop_lasted_seconds", "How long it took.", buckets=(0.01, 0.1))
OPEN = Gauge("shop_open", "Carts that are open.", multiprocess_mode="livesum")
LEVEL = Gauge("shop_level", "The level of each node.")


class Counter(Actor):
    def __init__(self) -> None:
        self.count = 0

    async def add(self) -> int:
        ADDED.inc()
        LASTED.observe(0.05)
        OPEN.inc()
        self.count += 1
        return self.count

    async def compute(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - that is what it is for


class Patient(Actor):
    async def wait(self) -> None:
        await anyio.sleep_forever()


class Sender(Actor):
    async def hurry(self) -> None:
        patient = await self.context.system.lookup("patient", Patient)
        assert patient is not None
        for _ in range(3):
            await patient.tell(Patient.wait)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


topology = Topology(
    nodes=[nodes("web", count=2)],
    children=[
        dynamic("guests"),
        supervisor("inner", [child(Counter, name="<i>counter", on="web/0")]),
        child(Counter, name="other", on="web/1"),
        child(Patient, name="patient", on="web/1", shutdown=0.1),
        child(Sender, name="sender", on="web/0"),
        pool(name="work", size=1, kind="thread"),
        program("sleeper", ["/bin/sleep", "1000"], instances=2),
    ],
    listeners=[listen(asgi("tests.dashboard.served:app"), "127.0.0.1:0", name="shop")],
)
