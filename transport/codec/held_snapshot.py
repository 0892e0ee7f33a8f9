"""Snapshots of messages that wait for room, are sent to many receivers, or are kept and copied again."""

from typing import Any, Final

from actors.transport.attachments.move import current_phase, finish_moves, undo_moves
from actors.transport.codec.snapshot import snapshot, snapshot_args
from actors.transport.types.tags import LEAVES

__all__ = [
    "HeldSnapshot",
    "hold_args",
    "snapshot_for_many",
    "snapshot_to_keep",
]


class HeldSnapshot:
    """What a message that waits for room has moved; call `undo` or `finish` once."""

    __slots__ = ("_moved",)

    def __init__(self, moved: list[tuple[Any, Any]]) -> None:
        self._moved = moved

    def undo(self) -> None:
        """The message will not be sent: move everything back to its owner."""
        undo_moves(self._moved)

    def finish(self) -> None:
        """The message is sent: everything is its receiver's for good."""
        finish_moves(self._moved)


_NOTHING_MOVED: Final = HeldSnapshot([])
_leaves: Final = LEAVES.issuperset


def snapshot_for_many(value: Any, root: str = "value") -> Any:
    """As `snapshot`, for what is sent more than once: nothing in it can be moved."""
    phase = current_phase()
    phase.sent_to_many = True
    try:
        return snapshot(value, root)
    finally:
        phase.sent_to_many = False


def snapshot_to_keep(value: Any, root: str = "value") -> Any:
    """As `snapshot`, for what is kept and copied again: descriptors are refused."""
    phase = current_phase()
    phase.reused = True
    try:
        return snapshot(value, root)
    finally:
        phase.reused = False


def hold_args(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, leaves: bool, leaves_machine: bool = False
) -> tuple[tuple[Any, ...], dict[str, Any], HeldSnapshot]:
    """As `snapshot_args`, for a message that waits for room and may not be sent after all.

    Args:
        args: of the call.
        kwargs: of the call.
        leaves: whether the message leaves this process: then marks stay, and local values are refused.
        leaves_machine: whether it leaves this machine: then descriptors and shared memory are refused, too.

    Returns:
        the arguments, and what was moved.
    """
    if not kwargs and _leaves(map(type, args)):
        return args, kwargs, _NOTHING_MOVED
    phase = current_phase()
    phase.undoable, phase.leaves_process, phase.leaves_machine = True, leaves, leaves_machine
    try:
        args, kwargs = snapshot_args(args, kwargs)
    finally:
        phase.undoable = phase.leaves_process = phase.leaves_machine = False
        moved = phase.take_moved()
    return args, kwargs, HeldSnapshot(moved)
