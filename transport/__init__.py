"""Bytes between places: values copied or encoded, frames, and the channel that carries them.

Nothing in here knows actors, supervision or an event loop; the loop is handed in. Only waiting for an
atomic integer, which users await themselves, goes through anyio.
"""

from transport._arenas import Arenas, ArenaStats
from transport._arrays import Form, array_bytes, array_form, is_array, rebuild_array
from transport._atomics import Atomics
from transport._buffer import Buffer
from transport._cargo import Cargo
from transport._channel import Channel
from transport._decoder import Decoder, Undecoded
from transport._door import Door, doors
from transport._encoder import Encoder
from transport._errors import (
    ChannelBroken,
    ChannelClosed,
    FrameError,
    Moved,
    OutOfRange,
    SegmentError,
    StaleLease,
    StillViewed,
    TooBig,
    TransportError,
    Undecodable,
    Unsealed,
    Unsendable,
    VersionSkew,
    WrongSize,
)
from transport._exceptions import (
    RemoteError,
    RemoteTraceback,
    copy_error,
    let_go_of_frames,
    traceback_text,
)
from transport._frames import FRAME_LIMIT, MAX_FDS, Frame, FrameDecoder, Lane, encode_header
from transport._handed import Handed, Handing
from transport._here import arenas_here, close_arenas, open_arenas, set_arenas
from transport._kept import hold_args, snapshot_for_many, snapshot_to_keep
from transport._lease import Descriptor, Introduction, Lease, Room
from transport._limits import Limits, Stats
from transport._load import Ahead
from transport._loop import Loop
from transport._mapping import Mappings
from transport._move import Move, check_moves, move
from transport._passage import Passage
from transport._payload import Mode, Sizes, choose_mode, payload_bytes
from transport._registry import Extra, Local, local, register, register_immutable
from transport._shapes import find_class
from transport._shared import SharedBuffer
from transport._snapshot import snapshot, snapshot_args
from transport._socket import pair
from transport._tags import INTRODUCE, LEAVES, PLAIN

__all__ = [
    "FRAME_LIMIT",
    "INTRODUCE",
    "LEAVES",
    "MAX_FDS",
    "PLAIN",
    "Ahead",
    "ArenaStats",
    "Arenas",
    "Atomics",
    "Buffer",
    "Cargo",
    "Channel",
    "ChannelBroken",
    "ChannelClosed",
    "Decoder",
    "Descriptor",
    "Door",
    "Encoder",
    "Extra",
    "Form",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "Handed",
    "Handing",
    "Introduction",
    "Lane",
    "Lease",
    "Limits",
    "Local",
    "Loop",
    "Mappings",
    "Mode",
    "Move",
    "Moved",
    "OutOfRange",
    "Passage",
    "RemoteError",
    "RemoteTraceback",
    "Room",
    "SegmentError",
    "SharedBuffer",
    "Sizes",
    "StaleLease",
    "Stats",
    "StillViewed",
    "TooBig",
    "TransportError",
    "Undecodable",
    "Undecoded",
    "Unsealed",
    "Unsendable",
    "VersionSkew",
    "WrongSize",
    "arenas_here",
    "array_bytes",
    "array_form",
    "check_moves",
    "choose_mode",
    "close_arenas",
    "copy_error",
    "doors",
    "encode_header",
    "find_class",
    "hold_args",
    "is_array",
    "let_go_of_frames",
    "local",
    "move",
    "open_arenas",
    "pair",
    "payload_bytes",
    "rebuild_array",
    "register",
    "register_immutable",
    "set_arenas",
    "snapshot",
    "snapshot_args",
    "snapshot_for_many",
    "snapshot_to_keep",
    "traceback_text",
]
