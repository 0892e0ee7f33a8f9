"""How a run ended.

There are seven kinds. Nothing here knows who ended or what is done about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final, final


class ExitKind(Enum):
    """The seven kinds of ends; no other package adds one."""

    NORMAL = "NORMAL"
    """It was finished."""
    SHUTDOWN = "SHUTDOWN"
    """It was asked to stop, and did."""
    CRASHED = "CRASHED"
    """It failed with an error."""
    KILLED = "KILLED"
    """It was ended by force."""
    NODE_DOWN = "NODE_DOWN"
    """The node it ran on ended."""
    ABANDONED = "ABANDONED"
    """It was killed and did not end; its end is no longer awaited."""
    FORGOTTEN = "FORGOTTEN"
    """It ended so long ago that how is no longer known: only an answer to late questions."""


_AS_EXPECTED: Final = frozenset({ExitKind.NORMAL, ExitKind.SHUTDOWN})


def shown(error: BaseException) -> str:
    """Return the text of *error*, also of one that cannot say it: a report must not fail on it."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - whatever a user's __str__ does
        return f"<its text raised {type(failure).__name__}>"


@final
@dataclass(frozen=True, slots=True)
class Exit:
    """The end of one run, compared by value.

    Attributes:
        kind: Which of the seven ends it was.
        error: What a crashed run failed with.
        cause: What happened to the node of a run that lost it: "rooms/0: killed by SIGKILL".
    """

    NORMAL: ClassVar[Exit]
    SHUTDOWN: ClassVar[Exit]
    KILLED: ClassVar[Exit]
    ABANDONED: ClassVar[Exit]
    FORGOTTEN: ClassVar[Exit]

    kind: ExitKind
    error: BaseException | None = None
    cause: str = ""

    # The constructors are upper case so that all ends read alike, with an error or without.
    @classmethod
    def CRASHED(cls, error: BaseException) -> Exit:  # noqa: N802
        """Return the end of a run that failed with *error*."""
        return cls(ExitKind.CRASHED, error=error)

    @classmethod
    def NODE_DOWN(cls, cause: str) -> Exit:  # noqa: N802
        """Return the end of a run whose node went away by *cause*."""
        return cls(ExitKind.NODE_DOWN, cause=cause)

    @property
    def abnormal(self) -> bool:
        """Whether this is neither NORMAL nor SHUTDOWN."""
        return self.kind not in _AS_EXPECTED

    def __str__(self) -> str:
        if self.error is not None:
            text = shown(self.error)
            name = type(self.error).__name__
            return f"{self.kind.value}({name}: {text})" if text else f"{self.kind.value}({name})"
        return f"{self.kind.value}({self.cause})" if self.cause else self.kind.value


Exit.NORMAL = Exit(ExitKind.NORMAL)
Exit.SHUTDOWN = Exit(ExitKind.SHUTDOWN)
Exit.KILLED = Exit(ExitKind.KILLED)
Exit.ABANDONED = Exit(ExitKind.ABANDONED)
Exit.FORGOTTEN = Exit(ExitKind.FORGOTTEN)
