"""Snapshots that are not just taken: of what waits, is kept, is sent to many or to another thread."""

from typing import Any

from actors.transport.attachments.move import here, part_with, put_back
from actors.transport.codec.snapshot import snapshot, snapshot_args

__all__ = ["HeldSnapshot", "hold_args", "snapshot_for_many", "snapshot_to_hand", "snapshot_to_keep"]


class HeldSnapshot:
    """What a message that waits for room has moved; one of the two ends it."""

    __slots__ = ("_moved",)

    def __init__(self, moved: list[tuple[Any, Any]]) -> None:
        self._moved = moved

    def give_back(self) -> None:
        """It will not be sent: everything goes back to its owner."""
        put_back(self._moved)

    def part(self) -> None:
        """It is on its way: everything is its receiver's for good."""
        part_with(self._moved)


def snapshot_for_many(value: Any, root: str = "value") -> Any:
    """As `snapshot`, of what is sent more than once: nothing in it can be moved."""
    phase = here()
    phase.repeats = True
    try:
        return snapshot(value, root)
    finally:
        phase.repeats = False


def snapshot_to_keep(value: Any, root: str = "value") -> Any:
    """As `snapshot`, of what is kept to be copied again: there are no descriptors in it."""
    phase = here()
    phase.kept = True
    try:
        return snapshot(value, root)
    finally:
        phase.kept = False


def snapshot_to_hand(value: Any) -> Any:
    """As `snapshot`, of what another thread of this process gets as it is.

    Raises:
        Unsendable: it holds something for the codec, which passes it on or says what is wrong.
    """
    phase = here()
    phase.handing = True
    try:
        return snapshot(value)
    finally:
        phase.handing = False


def hold_args(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, leaves: bool
) -> tuple[tuple[Any, ...], dict[str, Any], HeldSnapshot]:
    """As `snapshot_args`, for a message that waits for room and perhaps will not get it.

    Args:
        args: of the call.
        kwargs: of the call.
        leaves: whether it leaves this process: then marks stay, and local values are refused.

    Returns:
        the arguments, and what was moved.
    """
    phase = here()
    phase.waits, phase.leaves = True, leaves
    try:
        args, kwargs = snapshot_args(args, kwargs)
    finally:
        phase.waits = phase.leaves = False
        moved = phase.take_moved()
    return args, kwargs, HeldSnapshot(moved)
