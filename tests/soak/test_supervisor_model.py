"""Two hundred thousand random steps: the real supervisors never do what the plain model does not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.supervisors.machine import run
from tests.supervisors.plain import Spec
from tests.supervisors.programs import Step, programs

PROGRAMS = 2000
STEPS = 50

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_supervisors_do_what_the_plain_model_does_for_a_long_time(backend: str) -> None:
    taken = 0

    # Other programs each time; one that fails is shown as small as it gets, with how to repeat it.
    @settings(
        max_examples=PROGRAMS,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(program=programs(steps=STEPS))
    def every_program(program: tuple[Spec, list[Step]]) -> None:
        nonlocal taken
        run(program, backend)
        taken += len(program[1])

    every_program()

    print(f"\n{taken} steps on {backend}, no divergence")  # noqa: T201 - a soak says what it has counted
    assert taken >= PROGRAMS * STEPS
