"""The thread of a blocking actor that does not end: its actor is abandoned, and the thread reaches nobody."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors import Actor, ActorStopped, Exit, Restart, local
from actors._actor import incarnation
from actors.errors import ActorCrashed
from actors.testing import eventually, running_system
from tests.conftest import LOOPS


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


class Stuck(Actor, blocking=True):
    """Is inside a call until it is let go."""

    def __init__(
        self, letting_go: threading.Event, inside: threading.Event, said: list[Any]
    ) -> None:
        self.letting_go = letting_go
        self.inside = inside
        self.said = said

    def hang(self) -> None:
        self.inside.set()
        self.letting_go.wait()
        try:
            self.context.ref.tell_nowait(Stuck.fine)
        except ActorStopped as error:
            self.said.append(error.why)

    def fine(self) -> int:
        return self.context.incarnation


@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.PERMANENT], ids=lambda it: it.value)
async def test_an_actor_whose_thread_does_not_end_is_abandoned_and_named(
    restart: Restart, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(incarnation, "_ABANDON_AFTER", 0.05)
    letting_go, inside, said = threading.Event(), threading.Event(), list[Any]()
    try:
        with anyio.fail_after(10):
            async with running_system() as system:
                ref = await system.spawn(
                    Stuck, local(letting_go), local(inside), local(said), restart=restart
                )
                async with anyio.create_task_group() as tasks:

                    async def ask() -> None:
                        with pytest.raises(ActorCrashed):
                            await ref.ask(Stuck.hang)

                    tasks.start_soon(ask)
                    await anyio.to_thread.run_sync(inside.wait)
                    ref.kill()
                if restart is Restart.PERMANENT:
                    assert await ref.ask(Stuck.fine) == 2
                else:
                    assert await ref.wait() == Exit.ABANDONED
                letting_go.set()
                await eventually(lambda: said)
    finally:
        letting_go.set()
    assert said == ["it was killed, did not end, and can reach nobody"]
    assert '"runs": "Stuck.hang"' in capfd.readouterr().err
    await eventually(
        lambda: [one.name for one in threading.enumerate() if "Stuck" in one.name] == []
    )


async def test_threads_end_with_their_actors_and_with_starts_that_fail() -> None:
    class Failing(Actor, blocking=True):
        def __init__(self) -> None:
            raise LookupError("constructor")

    async with running_system() as system:
        with pytest.raises(Exception, match="constructor"):
            await system.spawn(Failing, name="failing")
        inside = threading.Event()
        ref = await system.spawn(Stuck, local(inside), local(inside), local([]), name="stuck")
        assert "stuck" in {one.name for one in threading.enumerate()}
        await ref.stop()
        await ref.wait()
        assert not {"stuck", "failing"} & {one.name for one in threading.enumerate()}
