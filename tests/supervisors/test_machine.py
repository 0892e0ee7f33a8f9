"""Random programs, run by the real supervisors and by a plain model of what they must do."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.supervisors.machine import run
from tests.supervisors.plain import Spec
from tests.supervisors.programs import Step, programs

PROGRAMS = {"asyncio": 70, "trio": 30}
STEPS = 25


@pytest.mark.parametrize("backend", PROGRAMS)
def test_supervisors_do_what_the_plain_model_does(backend: str) -> None:
    taken = 0

    # The same programs each time: others are for the soak.
    @settings(
        max_examples=PROGRAMS[backend],
        deadline=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(program=programs(steps=STEPS))
    def every_program(program: tuple[Spec, list[Step]]) -> None:
        nonlocal taken
        run(program, backend)
        taken += len(program[1])

    every_program()

    assert taken >= PROGRAMS[backend] * STEPS
