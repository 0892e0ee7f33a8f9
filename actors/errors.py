"""Every error of this package by name: `actors.errors.NodeDown` and so on; the tree is in `_errors`."""

from transport import RemoteError

from ._errors import (
    ActorCrashed,
    ActorsError,
    ActorStopped,
    BootFailed,
    CallCycle,
    DeadlineExceeded,
    InvalidSpec,
    MailboxFull,
    MessageTooBig,
    NameTaken,
    NodeDown,
    NoSystem,
    NotAMessage,
    NotSendable,
    SendError,
    StartFailed,
    SystemStopped,
)
from .nodes import NodeDied
from .routing import BadListener, HandlerNotFound, HandlerUnfit, LifespanFailed, ListenFailed

__all__ = [
    "ActorCrashed",
    "ActorStopped",
    "ActorsError",
    "BadListener",
    "BootFailed",
    "CallCycle",
    "DeadlineExceeded",
    "HandlerNotFound",
    "HandlerUnfit",
    "InvalidSpec",
    "LifespanFailed",
    "ListenFailed",
    "MailboxFull",
    "MessageTooBig",
    "NameTaken",
    "NoSystem",
    "NodeDied",
    "NodeDown",
    "NotAMessage",
    "NotSendable",
    "RemoteError",
    "SendError",
    "StartFailed",
    "SystemStopped",
]
