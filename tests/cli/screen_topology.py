"""What the tests of the full-screen `actors top` look at: one of everything, and names of all kinds."""

import os

import anyio
from anyio.abc import SocketStream

from actors import Actor, Topology, child, listen, nodes, pool, program, supervisor

CROWD = int(os.environ.get("CROWD", "40"))


class Holder(Actor):
    async def on_start(self) -> None:
        await self.context.ref.tell(Holder.hold)
        await self.context.ref.tell(Holder.note)

    async def hold(self) -> None:
        await anyio.sleep_forever()

    async def note(self) -> None:
        pass


class Member(Actor):
    async def hello(self) -> str:
        return "hello"


class Crowd(Actor):
    async def on_start(self) -> None:
        for number in range(CROWD):
            await self.context.spawn(Member, name=f"member-{number:05}")


async def talk(stream: SocketStream) -> None:
    await stream.send(b"hello")


topology = Topology(
    nodes=[nodes("web", count=1, boot_timeout=100)],
    children=[
        child(Holder, name="holder", on="web/0", shutdown=0.1),
        child(Member, name="日本語-ö", on="web/0"),
        child(Member, name="zz\x1b[2Jevil", on="web/0"),
        supervisor("inner", [child(Member, name="deep", on="web/0")]),
        child(Crowd, name="crowd", on="web/0"),
        pool(name="work", size=1, kind="thread"),
        program("sleeper", ["/bin/sleep", "1000"]),
    ],
    listeners=[listen(talk, "127.0.0.1:0", name="door", nodes="web")],
)
