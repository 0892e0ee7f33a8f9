"""The options of a call on a pool, checked where they are written."""

from __future__ import annotations

from actors._base.errors import InvalidSpec
from actors._messaging.mailbox_options import LEAST_PRIORITY, MOST_PRIORITY

__all__ = ["check_call_options"]


def check_call_options(name: str, timeout: object, priority: object, retry: object) -> None:
    """Check the options of `Pool.run`.

    Raises:
        InvalidSpec: naming the pool, the option and its value.
    """

    def refuse(what: str, value: object) -> InvalidSpec:
        return InvalidSpec(f"pool {name!r}: {what}, got {value!r}")

    if timeout is not None:
        number = isinstance(timeout, int | float) and type(timeout) is not bool
        if not (number and timeout > 0):  # type: ignore[operator] # a number
            raise refuse("timeout must be more than 0 seconds, or None", timeout)
    if type(priority) is not int or not LEAST_PRIORITY <= priority <= MOST_PRIORITY:
        what = "priority must be a whole number, of 64 bits at most; higher runs first"
        raise refuse(what, priority)
    if type(retry) is not int or retry < 0:
        raise refuse("retry must be a whole number of 0 or more", retry)
