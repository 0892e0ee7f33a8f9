"""100,000 requests as attackers write them, read by ours, by uvicorn and by h11."""

import os

import pytest

from tests.routing.http_cases import cases
from tests.routing.http_judge import Bench, difference, judging

CASES = int(os.environ.get("FUZZ_REQUESTS", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or int.from_bytes(os.urandom(4))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_what_ours_takes_h11_takes_too_and_all_read_the_same() -> None:
    print(f"\nFUZZ_SEED={SEED}", end="")  # noqa: T201 - a soak says what it has done

    async def check(bench: Bench) -> None:
        taken = 0
        for case in cases(seed=SEED, count=CASES):
            verdicts = await bench.judge(case)
            wrong = difference(case, verdicts)
            assert not wrong, f"case {case.seed}, {case.data!r}: {wrong}"
            taken += len(verdicts["ours"].whole)
        print(f", {CASES} cases, {taken} requests taken")  # noqa: T201 - the same

    judging(check, seconds=3500)
