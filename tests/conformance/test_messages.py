"""Replies that come too late, names, death notices: section G of the cases, with actors that ask and watch."""

from __future__ import annotations

import anyio
import pytest

from actors import Exit, ExitKind, Restart, supervisor
from actors.errors import ActorStopped, CallCycle, DeadlineExceeded, NameTaken
from tests.conformance.case_actors import Asker, Deaf, Plain, ReportingActor, Unwatched, Watcher
from tests.conformance.scenario import Scenario


async def test_c42_a_reply_that_comes_too_late_is_nobodys(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        asker = await scenario.spawn(Asker, scenario.probe.ref, name="asker")
        deaf = await scenario.spawn(Deaf, name="deaf")
        assert await asker.ask(Asker.ask_within, 0.001, deaf, "first") == "too late"
        # Answered behind the late reply, and not by it.
        assert await asker.ask(Asker.ask_next, deaf, "second") == "second"
        await asker.tell(ReportingActor.note, "third")
        assert await asker.ask(ReportingActor.logged) == ["third"]
        assert scenario.story("heard") == []
        await deaf.stop()
        await scenario.heard(("heard", "deaf", "SHUTDOWN"))
        assert len(scenario.story("heard")) == 1


async def test_c43_a_killed_owner_gives_its_name_back_before_anybody_is_told(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        owner = await scenario.spawn(Plain, name="key", restart=Restart.TEMPORARY)
        with pytest.raises(NameTaken) as caught:
            await scenario.spawn(Plain, name="key")
        assert caught.value.ref == owner
        owner.kill()
        assert (await owner.wait()).kind is ExitKind.KILLED
        assert await scenario.gone("key")
        successor = await scenario.spawn(Plain, name="key")
        assert await scenario.ref("key") == successor != owner


async def test_c44_an_ask_that_cannot_be_answered_fails_at_once_with_its_message(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        asker = await scenario.spawn(Asker, scenario.probe.ref)
        with pytest.raises(CallCycle) as cycle:
            await asker.ask(Asker.ask_itself)
        assert cycle.value.message == ("incarnation", (), {})

        deaf = await scenario.spawn(Deaf, name="deaf")
        with pytest.raises(DeadlineExceeded) as late:
            await deaf.within(0.01).ask(Deaf.slow, "x")
        assert str(late.value).startswith(f"{deaf}: no reply to slow in 0.0")
        assert late.value.message == ("slow", ("x",), {})

        await deaf.stop()
        await deaf.wait()
        with pytest.raises(ActorStopped) as ended:
            await deaf.ask(Deaf.quick, "x")
        assert str(ended.value) == f"{deaf}: it has ended: SHUTDOWN"
        assert ended.value.message == ("quick", ("x",), {})


async def test_c56_an_unheard_notice_harms_nobody(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", [scenario.child("watcher", Unwatched)]))
        watcher, dying = await scenario.ref("watcher"), await scenario.spawn(Plain)
        await watcher.ask(Unwatched.watch, dying)
        await dying.stop()
        await dying.wait()
        await watcher.tell(ReportingActor.note, 1)
        assert await watcher.ask(ReportingActor.logged) == [1]
        assert await watcher.ask(ReportingActor.incarnation) == 1


@pytest.mark.parametrize("unwatch", [False, True])
async def test_c56_a_queued_notice_is_not_delivered_once_it_is_not_wanted(
    scenario: Scenario, unwatch: bool
) -> None:
    with anyio.fail_after(10):
        watcher = await scenario.spawn(Watcher, scenario.probe.ref)
        dying = await scenario.spawn(Plain, name="dying")
        await watcher.ask(Watcher.watch, dying)
        await watcher.tell(Watcher.hear_out, dying, unwatch=unwatch)
        await scenario.heard("listening")
        await dying.stop()
        await dying.wait()
        # Asked for twice: the notice may have been queued between the two.
        for _ in range(2):
            await watcher.ask(ReportingActor.incarnation)
        assert scenario.story("heard") == ([] if unwatch else [("heard", "dying", "SHUTDOWN")])


async def test_c56_a_notice_passes_a_full_mailbox_and_stays_in_it(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        watcher = await scenario.spawn(Watcher, scenario.probe.ref, mailbox=1)
        dying = await scenario.spawn(Plain, name="dying")
        gate = await scenario.spawn(Plain)
        await watcher.ask(Watcher.watch, dying)
        await watcher.tell(Watcher.hear_out, gate, unwatch=False)
        await scenario.heard("listening")
        await watcher.tell(ReportingActor.note, "fills it")
        dying.kill()
        await dying.ask(Plain.incarnation)  # it was restarted: no notice
        await dying.stop()
        assert await dying.wait() == Exit.SHUTDOWN
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(watcher.tell, ReportingActor.note, number)
            await anyio.wait_all_tasks_blocked()
            await gate.stop()
        await scenario.heard(("heard", "dying", "SHUTDOWN"))
        assert (await watcher.ask(ReportingActor.logged))[0] == "fills it"
        assert len(await watcher.ask(ReportingActor.logged)) == 4
        assert len(scenario.story("heard")) == 1


async def test_c58_ten_are_accepted_and_the_eleventh_waits_fails_or_gives_up(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        held = await scenario.spawn(Watcher, scenario.probe.ref, mailbox=10)
        gate = await scenario.spawn(Plain)
        await held.tell(Watcher.hear_out, gate, unwatch=False)
        await scenario.heard("listening")
        for number in range(10):
            with anyio.fail_after(5):
                await held.tell(ReportingActor.note, number)
        with pytest.raises(DeadlineExceeded, match=r"no room in its mailbox in 0\.02 s"):
            await held.within(0.02).tell(ReportingActor.note, "never")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held.tell, ReportingActor.note, "eleventh")
            await anyio.wait_all_tasks_blocked()
            await gate.stop()
        assert await held.ask(ReportingActor.logged) == [*range(10), "eleventh"]
