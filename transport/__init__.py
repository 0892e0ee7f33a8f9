"""Messages between threads and processes: codec, frames, channels, shared memory.

Nothing in here knows actors, supervision or an event loop, which is passed in as five functions. Only waiting
for an atomic integer, and a stream that was moved, use anyio.
"""

from actors.transport.attachments.attachments import Attachments
from actors.transport.attachments.mode import (
    Mode,
    Thresholds,
    choose_mode,
    payload_bytes,
    payload_size,
)
from actors.transport.attachments.move import Move, move
from actors.transport.attachments.transaction import Prerequisite
from actors.transport.channels.socket_channel import Channel
from actors.transport.channels.thread_channel import ThreadChannel
from actors.transport.channels.thread_copy import ByReference, InProcessEncoder
from actors.transport.channels.thread_pair import Endpoint, endpoint_pair
from actors.transport.codec.decoder import Decoder, Undecoded
from actors.transport.codec.encoder import Encoder, no_problem
from actors.transport.codec.held_snapshot import (
    HeldSnapshot,
    hold_args,
    snapshot_for_many,
    snapshot_to_keep,
)
from actors.transport.codec.plain_value import NOT_PLAIN, plain_packer, unpack_plain
from actors.transport.codec.snapshot import snapshot, snapshot_args
from actors.transport.errors import (
    ChannelBroken,
    ChannelClosed,
    FrameError,
    Moved,
    NoRoom,
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
from actors.transport.memory.atomics import Atomics
from actors.transport.memory.buffer import Buffer
from actors.transport.memory.lease import Availability, Lease, LeaseDescriptor, SegmentIntroduction
from actors.transport.memory.mapping import SegmentMappings
from actors.transport.memory.pool import SegmentPool, SegmentPoolStats
from actors.transport.memory.shared_array import SharedArray
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.memory.thread_pool import (
    attach_node,
    detach_node,
    set_thread_pool,
    thread_pool,
)
from actors.transport.types.class_name import BY_VALUE, find_named
from actors.transport.types.exceptions import (
    RemoteError,
    RemoteTraceback,
    attach_text,
    copy_error,
    drop_frames,
    keep_text,
    traceback_text,
)
from actors.transport.types.numpy import (
    ArrayLayout,
    array_bytes,
    array_layout,
    is_array,
    rebuild_array,
)
from actors.transport.types.registry import Extra, Local, local, register, register_immutable
from actors.transport.types.tags import LEAVES, PLAIN
from actors.transport.types.twins import SimpleArgs, copy_args
from actors.transport.wire.frames import (
    ENVELOPE,
    FRAME_LIMIT,
    MAX_FDS,
    MESSAGE_LIMIT,
    Frame,
    FrameDecoder,
    Lane,
    encode_header,
)
from actors.transport.wire.limits import ChannelStats, Limits
from actors.transport.wire.loop import ChannelLoop
from actors.transport.wire.socket_io import pair

__all__ = [
    "BY_VALUE",
    "ENVELOPE",
    "FRAME_LIMIT",
    "LEAVES",
    "MAX_FDS",
    "MESSAGE_LIMIT",
    "NOT_PLAIN",
    "PLAIN",
    "ArrayLayout",
    "Atomics",
    "Attachments",
    "Availability",
    "Buffer",
    "ByReference",
    "Channel",
    "ChannelBroken",
    "ChannelClosed",
    "ChannelLoop",
    "ChannelStats",
    "Decoder",
    "Encoder",
    "Endpoint",
    "Extra",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "HeldSnapshot",
    "InProcessEncoder",
    "Lane",
    "Lease",
    "LeaseDescriptor",
    "Limits",
    "Local",
    "Mode",
    "Move",
    "Moved",
    "NoRoom",
    "OutOfRange",
    "Prerequisite",
    "RemoteError",
    "RemoteTraceback",
    "SegmentError",
    "SegmentIntroduction",
    "SegmentMappings",
    "SegmentPool",
    "SegmentPoolStats",
    "SharedArray",
    "SharedBuffer",
    "SimpleArgs",
    "StaleLease",
    "StillViewed",
    "ThreadChannel",
    "Thresholds",
    "TooBig",
    "TransportError",
    "Undecodable",
    "Undecoded",
    "Unsealed",
    "Unsendable",
    "VersionSkew",
    "WrongSize",
    "array_bytes",
    "array_layout",
    "attach_node",
    "attach_text",
    "choose_mode",
    "copy_args",
    "copy_error",
    "detach_node",
    "drop_frames",
    "encode_header",
    "endpoint_pair",
    "find_named",
    "hold_args",
    "is_array",
    "keep_text",
    "local",
    "move",
    "no_problem",
    "pair",
    "payload_bytes",
    "payload_size",
    "plain_packer",
    "rebuild_array",
    "register",
    "register_immutable",
    "set_thread_pool",
    "snapshot",
    "snapshot_args",
    "snapshot_for_many",
    "snapshot_to_keep",
    "thread_pool",
    "traceback_text",
    "unpack_plain",
]
