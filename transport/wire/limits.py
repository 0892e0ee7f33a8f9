"""The sizes that limit a channel, and its counters: data only."""

from dataclasses import dataclass

from actors.transport.wire.frames import MESSAGE_LIMIT

__all__ = ["ChannelStats", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes.

    Attributes:
        message: largest message.
        envelope: what a message may have beyond that, as it is not the user's.
        high_water: unsent bytes from which the channel is congested.
        low_water: unsent bytes below which `on_room` is called.
        fds: unsent descriptors from which the channel is congested; below half of them it is not.
        per_turn: received bytes after which other callbacks of the loop run before more is read.
    """

    message: int = MESSAGE_LIMIT
    envelope: int = 0
    high_water: int = 1024 * 1024
    low_water: int = 256 * 1024
    fds: int = 64
    per_turn: int = 1024 * 1024

    def __post_init__(self) -> None:
        if not 0 < self.low_water <= self.high_water:
            raise ValueError(
                f"low_water must be in 1..high_water, got {self.low_water} and {self.high_water}"
            )
        if not (self.message > 0 and self.per_turn > 0):
            got = f"{self.message} and {self.per_turn}"
            raise ValueError(f"message and per_turn must be above 0, got {got}")


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """What one channel has sent and received so far, and `queued_bytes` that are not written yet.

    The frames that went through a ring in shared memory are counted as frames, too.
    """

    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    frames_sent: int
    frames_received: int
    fds_sent: int
    fds_received: int
    queued_bytes: int
    ring_frames_sent: int = 0
    ring_frames_received: int = 0
