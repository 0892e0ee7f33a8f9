"""Bytes between places: values copied or encoded, frames, and the channel that carries them.

Nothing in here knows actors, supervision or an event loop; the loop is handed in.
"""

from transport._channel import Channel
from transport._decoder import Decoder, Undecoded
from transport._encoder import Encoder
from transport._errors import (
    ChannelBroken,
    ChannelClosed,
    FrameError,
    TooBig,
    TransportError,
    Undecodable,
    Unsendable,
    VersionSkew,
)
from transport._exceptions import RemoteError, RemoteTraceback
from transport._frames import FRAME_LIMIT, MAX_FDS, Frame, FrameDecoder, Lane, encode_header
from transport._limits import Limits, Stats
from transport._loop import Loop
from transport._payload import Mode, choose_mode
from transport._registry import Extra, Local, local, register, register_immutable
from transport._shapes import find_class
from transport._snapshot import snapshot, snapshot_args
from transport._socket import pair
from transport._tags import INTRODUCE, LEAVES

__all__ = [
    "FRAME_LIMIT",
    "INTRODUCE",
    "LEAVES",
    "MAX_FDS",
    "Channel",
    "ChannelBroken",
    "ChannelClosed",
    "Decoder",
    "Encoder",
    "Extra",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "Lane",
    "Limits",
    "Local",
    "Loop",
    "Mode",
    "RemoteError",
    "RemoteTraceback",
    "Stats",
    "TooBig",
    "TransportError",
    "Undecodable",
    "Undecoded",
    "Unsendable",
    "VersionSkew",
    "choose_mode",
    "encode_header",
    "find_class",
    "local",
    "pair",
    "register",
    "register_immutable",
    "snapshot",
    "snapshot_args",
]
