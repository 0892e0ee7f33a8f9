"""What supervisors refuse is caught by the root of `actors`, and by their own; tracebacks name it shortly."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

import actors
from actors import Actor, ActorsError, Backoff, Budget, System, child, dynamic, errors, supervisors

pytestmark = pytest.mark.usefixtures("no_leaks")

REFUSALS = sorted(
    (kind for kind in vars(supervisors).values() if isinstance(kind, type)),
    key=lambda k: k.__name__,
)
REFUSALS = [
    kind
    for kind in REFUSALS
    if issubclass(kind, supervisors.SupervisorError) and kind is not supervisors.SupervisorError
]
KEYWORDS: dict[str, dict[str, Any]] = {
    "AlreadyStarted": {"running": None},
    "ChildGaveUp": {"restarts": 3},
    "MaxChildren": {"limit": 3},
    "NotSupported": {"instead": "wait"},
    "RestartBudgetExceeded": {"restarts": 3, "within": 5.0},
}
FEWER = {"SupervisorStopped": ("top",), "InvalidPolicy": ("no such",)}
MORE = {"ChildNotStarted": ("top", "child", "no reason")}


class Clerk(Actor):
    """Does not start when it is told not to."""

    def __init__(self, *, fail: bool = False) -> None:
        if fail:
            raise ValueError("no paper")


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_every_error_of_supervisors_has_the_root_of_actors_and_stays_what_it_was(
    kind: type[supervisors.SupervisorError],
) -> None:
    name = kind.__name__
    args = FEWER.get(name) or MORE.get(name) or ("top", "child")
    error: Any = kind(*args, **KEYWORDS.get(name, {}))
    assert isinstance(error, ActorsError)
    assert isinstance(error, kind)
    assert type(error) is getattr(errors, type(error).__name__)
    assert {"supervisor": "top", **vars(error)}["supervisor"] == "top"
    assert kind.__module__ == "actors.errors"
    assert str(error)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: Backoff(first=-1), "first must be 0 or more seconds, got -1"),
        (lambda: Budget(restarts=-1), "restarts must be a whole number, 0 or more, got -1"),
    ],
    ids=["Backoff", "Budget"],
)
def test_a_policy_that_can_never_work_is_an_invalid_spec_of_actors(make: Any, message: str) -> None:
    with pytest.raises(actors.errors.InvalidSpec) as caught:
        make()
    assert message in str(caught.value)
    assert isinstance(caught.value, supervisors.InvalidPolicy)


async def test_what_a_running_system_refuses_is_caught_by_one_root() -> None:
    refused: list[str] = []

    async def refuse(call: Any, *args: Any) -> None:
        try:
            result = call(*args)
            if result is not None:
                await result
        except ActorsError as error:
            refused.append(type(error).__name__)

    with anyio.fail_after(20):
        async with System() as system:
            await system.start(dynamic("crowd", max_children=1))
            await system.start(child(Clerk, name="clerk"))
            crowd, top = system.supervisor("crowd"), system.supervisor("")
            await refuse(system.start, child(Clerk, name="clerk"))
            await refuse(system.start, child(partial(Clerk, fail=True), name="other"))
            await refuse(crowd.stop_child, "nobody")
            await refuse(crowd.restart_child, "nobody")
            await refuse(top.delete_child, "clerk")
            await crowd.start_child(child(Clerk, name="one"))
            await refuse(crowd.start_child, child(Clerk, name="two"))
            await top.stop_child("clerk")
            await refuse(system.start, child(Clerk, name="clerk"))
        await refuse(crowd.start_child, child(Clerk, name="late"))
    assert refused == [
        "AlreadyStarted",
        "ChildNotStarted",
        "NotFound",
        "NotSupported",
        "ChildRunning",
        "MaxChildren",
        "AlreadyPresent",
        "SupervisorStopped",
    ]
