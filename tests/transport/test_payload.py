"""The table of how a payload travels."""

from typing import Any

import pytest

from transport import Mode, choose_mode, local


@pytest.mark.parametrize(
    "value, same, other",
    [
        (1, Mode.REFERENCE, Mode.COPY),
        (b"x", Mode.REFERENCE, Mode.COPY),
        ([1], Mode.COPY, Mode.COPY),
        (True, Mode.REFERENCE, Mode.COPY),
        (local([1]), Mode.REFERENCE, Mode.REFUSED),
    ],
)
def test_each_sort_of_payload_has_one_mode(value: Any, same: Mode, other: Mode) -> None:
    assert choose_mode(value, same_process=True) is same
    assert choose_mode(value, same_process=False) is other
