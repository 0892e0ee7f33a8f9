"""Every error users meet, in one tree.

Rule 1: an error says who must act; its facts are attributes.
Rule 2: a message that was not sent is its `.message`.

    ActorsError
    ├── SendError                  the message is yours again
    │   ├── MailboxFull            receiver behind: wait, shed, slow down
    │   ├── ActorStopped           receiver has ended for good
    │   ├── NodeDown               receiver's node is not there
    │   ├── MessageTooBig          over `System(largest=)`
    │   ├── CallCycle              the wait would never end
    │   └── DeadlineExceeded       no reply in time (also a TimeoutError)
    ├── ActorCrashed               the receiver crashed while handling it
    ├── WorkerLost                 a pool's worker ended while it ran the task
    │   ├── OutOfMemory            it held more than the pool allows
    │   └── PoisonTask             the task has ended two workers: it is not tried again
    ├── TaskExited                 the task raised SystemExit or KeyboardInterrupt
    ├── NotAMessage                that method is not a message (also a TypeError)
    ├── NotSendable                that value cannot travel (also a TypeError)
    ├── StartFailed                an actor never became ready
    │   └── BootFailed             a node never became ready
    ├── ReloadFailed               new code did not get ready: the old code continues
    ├── ReloadRunning              one reload at a time
    ├── LimitReached               a bound that keeps the system small: there may be no more of these
    ├── NameTaken                  another living actor has that name
    ├── InvalidSpec                a description that cannot be started (also a ValueError)
    ├── SystemStopped              the system is stopping or gone
    ├── NoSystem                   there is no system here
    ├── (supervisors)              `SupervisorError` and the errors derived from it
    └── (transport)                `TransportError` and the errors derived from it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._root_errors import ActorsError, InvalidSpec, StartFailed
from actors.supervisors import ExitKind, shown
from actors.transport import TransportError

if TYPE_CHECKING:
    from actors.supervisors import Exit
    from actors.transport import Unsendable

__all__ = [
    "ActorCrashed",
    "ActorStopped",
    "ActorsError",
    "BootFailed",
    "CallCycle",
    "DeadlineExceeded",
    "InvalidSpec",
    "LimitReached",
    "MailboxFull",
    "MessageTooBig",
    "NameTaken",
    "NoSystem",
    "NodeDown",
    "NotAMessage",
    "NotSendable",
    "OutOfMemory",
    "PoisonTask",
    "ReloadFailed",
    "ReloadRunning",
    "SendError",
    "StartFailed",
    "SystemStopped",
    "TaskExited",
    "WorkerLost",
    "failed_codec",
    "not_sendable",
    "start_failed",
]

_LONGEST_PATH: Final = 120
"""Characters of a path that still help to find the value; one of 200 levels does not."""

_MESSAGE_LOST: Final = "the message it was handling is lost"


class SendError(ActorsError):
    """The message did not reach its handler; `message` is (method name, args, kwargs)."""

    def __init__(self, ref: object, why: str, message: tuple[Any, ...] | None = None) -> None:
        super().__init__(ref, why, message)
        self.ref = ref
        self.why = why
        self.message = message

    def __str__(self) -> str:
        return f"{self.ref}: {self.why}"


class MailboxFull(SendError):
    """The receiver is alive but behind: wait (`tell`), shed, or slow down."""


class ActorStopped(SendError):
    """The receiver has ended for good; `exit` says how, None if its node no longer knows."""

    exit: Exit | None = None

    @classmethod
    def by(
        cls, end: Exit | None, ref: object, message: tuple[Any, ...] | None = None
    ) -> ActorStopped:
        """Return the error for a message to an actor that has ended by *end*, if that is known."""
        known = end is not None and end.kind is not ExitKind.FORGOTTEN
        error = cls(ref, f"it has ended: {end}" if known else "it has ended", message)
        error.exit = end
        return error


class NodeDown(SendError):
    """The receiver's node is not ready.

    Attributes:
        node: its name.
        restarting: whether it is expected back.
        may_have_run: whether the message was on its way when the node went, so that it may have been handled.
    """

    may_have_run = False

    def __init__(
        self,
        ref: object,
        why: str,
        message: tuple[Any, ...] | None = None,
        *,
        node: str = "",
        restarting: bool = False,
    ) -> None:
        super().__init__(ref, why, message)
        self.node = node
        self.restarting = restarting

    def to(self, ref: object, message: tuple[Any, ...] | None) -> NodeDown:
        """Return the same error for another message."""
        return NodeDown(ref, self.why, message, node=self.node, restarting=self.restarting)


class MessageTooBig(SendError):
    """The message is larger than `System(largest=)` allows; nothing was sent."""


class CallCycle(SendError):
    """This reply can never come: who should answer waits, directly or through others, for the asker."""


class DeadlineExceeded(SendError, TimeoutError):
    """The reply did not come before the deadline; a handler still running was cancelled."""


class ActorCrashed(ActorsError):
    """The receiver crashed while handling the message; `cause` is its error as text."""

    def __init__(self, ref: object, cause: str = "") -> None:
        super().__init__(ref, cause)
        self.ref = ref
        self.cause = cause

    def __str__(self) -> str:
        return (
            f"{self.ref} crashed ({self.cause}): {_MESSAGE_LOST}"
            if self.cause
            else f"{self.ref} crashed: {_MESSAGE_LOST}"
        )


class WorkerLost(ActorsError):
    """The worker of a pool that ran the task has ended; the task may have done a part of its work.

    Attributes:
        task: the name of the function or message.
        why: how the worker ended.
    """

    def __init__(self, task: str, why: str) -> None:
        super().__init__(task, why)
        self.task = task
        self.why = why

    def __str__(self) -> str:
        return f"{self.task}: its worker has ended: {self.why}"


class OutOfMemory(WorkerLost):
    """The worker was ended because it held far more memory than the pool's `max_rss`."""


class PoisonTask(WorkerLost):
    """Two workers have died of this task, so it is not tried again, whatever its `retry` says."""

    def __str__(self) -> str:
        return f"{self.task} has ended two workers and is not tried again; the second: {self.why}"


class TaskExited(ActorsError):
    """The function raised SystemExit or KeyboardInterrupt; its worker is renewed.

    Attributes:
        task: the name of the function.
        raised: the exception as text.
    """

    def __init__(self, task: str, raised: str) -> None:
        super().__init__(task, raised)
        self.task = task
        self.raised = raised

    def __str__(self) -> str:
        return f"{self.task} raised {self.raised}: a task returns a value or raises an Exception"


class NotAMessage(ActorsError, TypeError):
    """Only public async methods of the actor's class are messages."""


class NotSendable(ActorsError, TypeError):
    """A value that cannot travel; `path` says where it sits in the message."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}" if self.path else self.why


def not_sendable(error: Unsendable) -> NotSendable:
    """Return the error for a value that the transport refuses, with its path in the message."""
    path = error.path if len(error.path) <= _LONGEST_PATH else f"{error.path[:_LONGEST_PATH]}…"
    return NotSendable(path, str(error).removeprefix(f"{error.path}: "))


def failed_codec(where: str, error: Exception) -> Exception:
    """Return the error for what a registered codec raised; errors of the transport stay as they are."""
    if isinstance(error, TransportError):
        return error
    refused = NotSendable(where, f"its codec raised {type(error).__name__}: {shown(error)}")
    refused.__cause__ = error
    return refused


def start_failed(who: str, error: BaseException | None) -> StartFailed:
    """Return the error for *who*, an actor that never became ready; without an *error* it was killed."""
    why = "killed" if error is None else f"{type(error).__name__}: {error}"
    failed = StartFailed(f"{who} failed to start: {why}")
    failed.__cause__ = error
    return failed


class BootFailed(StartFailed):
    """A node never became ready; the text holds the child's own traceback."""


class ReloadFailed(ActorsError):
    """A node, or an instance of a program, did not get ready with its new code.

    The reload ends, and the old process keeps running if it can.

    Attributes:
        node: which one.
        why: what was wrong, in words.
        renewed: the nodes that already run the new code.
        traceback: where the new code raised, without frames of this package; may be empty.
        restarting: whether neither process of the node is left, so that it is started again.
        kind: ``node`` or ``program``.
    """

    def __init__(
        self,
        node: str,
        why: str,
        renewed: list[str] | None = None,
        traceback: str = "",
        restarting: bool = False,  # noqa: FBT001, FBT002 - as all arguments of an error, by position
        kind: str = "node",
    ) -> None:
        super().__init__(node, why, renewed, traceback, restarting, kind)
        self.node = node
        self.why = why
        self.renewed: list[str] = renewed or []
        self.traceback = traceback
        self.restarting = restarting
        self.kind = kind

    def __str__(self) -> str:
        done = (
            f"renewed before it: {', '.join(self.renewed)}" if self.renewed else "none is renewed"
        )
        state = "is being restarted" if self.restarting else "stays as it was"
        text = f"{self.kind} {self.node} {state}, {done}: {self.why}"
        return f"{text}\n{self.traceback}" if self.traceback else text


class ReloadRunning(ActorsError):
    """Another reload is running; the text says whose."""


class LimitReached(ActorsError):
    """There may be no more of these now; the text names the bound and where it is set."""


class NameTaken(ActorsError):
    """Another living actor has that name; `ref` is its address."""

    def __init__(self, name: str, ref: object = None, wanted: str = "") -> None:
        super().__init__(name, ref, wanted)
        self.name = name
        self.ref = ref
        self.wanted = wanted

    def __str__(self) -> str:
        advice = "choose another, or spawn with if_exists='return'"
        if self.wanted:
            advice = f"that is no {self.wanted}, so it is not returned; choose another name"
        return f"the name {self.name!r} is taken by {self.ref}: {advice}"


class SystemStopped(ActorsError):
    """The system is stopping or has stopped; nothing new can be started in it."""


class NoSystem(ActorsError):
    """There is no running system in this task."""
