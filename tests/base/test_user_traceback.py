"""Of an error the user is shown the frames of the user's code, once, and the causes."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import actors
from actors._base.errors import InvalidSpec, StartFailed, start_failed
from actors._base.user_traceback import only_user_frames
from actors._known_options import known_options

if TYPE_CHECKING:
    from collections.abc import Callable

HELD: dict[str, int] = {}
OURS = f'File "{Path(actors.__file__).parent}'


def _one() -> None:
    try:
        HELD["key"]
    except KeyError as error:
        raise ValueError("wrong") from error


def _several() -> None:
    try:
        _one()
    except ValueError as error:
        raise ExceptionGroup("both", [error, OSError("no file")]) from None


def _failed(function: Callable[[], None]) -> StartFailed:
    """Return the failed start whose cause *function* raised, called by code of the framework."""
    try:
        known_options(InvalidSpec)(function)()
    except Exception as error:  # noqa: BLE001 - whatever it is
        cause = error
    with pytest.raises(StartFailed) as caught:
        raise start_failed("it", cause)
    assert OURS in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.mark.parametrize("function", [_one, _several])
def test_a_chain_and_a_group_show_the_users_frames_once(function: Callable[[], None]) -> None:
    error = _failed(function)
    cause = error.__cause__
    shown = "".join(traceback.format_exception(only_user_frames(error)))
    assert OURS not in shown
    assert shown.count('raise ValueError("wrong") from error') == 1
    assert shown.count('HELD["key"]') == 1
    assert error.__cause__ is cause
    again = "".join(traceback.format_exception(only_user_frames(error)))
    assert again == shown


def test_an_error_that_no_code_of_the_user_raised_shows_no_frame() -> None:
    known: Any = known_options(InvalidSpec)(_one)
    with pytest.raises(InvalidSpec) as caught:
        known(x=1)
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr] # it was raised
    shown = "".join(traceback.format_exception(only_user_frames(start_failed("it", error))))
    assert "File" not in shown
    assert "has no option 'x'" in shown
