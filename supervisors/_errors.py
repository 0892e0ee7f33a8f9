"""Every error of this package, in one tree.

Each class writes its own message, says who must act, and keeps its facts as attributes.

::

    SupervisorError
    ├── InvalidPolicy           the caller: a value that can never work
    ├── SupervisorStopped       the caller: it is not running, so nothing was done
    ├── NotSupported            the caller: not with this sort of supervisor
    ├── NotFound                the caller: no child of this name
    ├── MaxChildren             the caller: wait, or stop another child first
    ├── AlreadyStarted          the caller: use the `.running` one
    ├── AlreadyPresent          the caller: restart_child() or delete_child() it
    ├── ChildRunning            the caller: stop_child() it first
    ├── ChildRestarting         the caller: wait for it, or stop_child() it first
    ├── ChildNotStarted         the child: it never became ready, see `__cause__`
    ├── ChildGaveUp             who depends on the child: it is not restarted any more
    └── RestartBudgetExceeded   the parent: everything under this supervisor has been stopped
"""

from __future__ import annotations

from typing import ClassVar

from actors._root_errors import ActorsError, InvalidSpec, StartFailed
from actors.supervisors._child import Child


class SupervisorError(ActorsError):
    """Anything a supervisor refuses or gives up on."""


class InvalidPolicy(SupervisorError, InvalidSpec):
    """A value in a spec, policy or supervisor that can never work; the message shows it."""


class SupervisorStopped(SupervisorError):
    """The supervisor is not running: not started yet, stopping, or ended."""

    def __init__(self, supervisor: str, why: str = "") -> None:
        super().__init__(f"supervisor {supervisor!r} is not running{why and f': {why}'}")
        self.supervisor = supervisor


class NotSupported(SupervisorError):
    """This sort of supervisor cannot do that."""

    def __init__(self, supervisor: str, what: str, *, instead: str) -> None:
        super().__init__(f"dynamic supervisor {supervisor!r} cannot {what}: {instead}")
        self.supervisor = supervisor


class _ChildError(SupervisorError):
    """An error about one child."""

    _text: ClassVar[str]

    def __init__(self, supervisor: str, child: str, text: str = "") -> None:
        super().__init__(text or self._text.format(supervisor=supervisor, child=child))
        self.supervisor = supervisor
        self.child = child


class NotFound(_ChildError):
    """No child has this name."""

    _text = "supervisor {supervisor!r} has no child {child!r}"


class MaxChildren(_ChildError):
    """The supervisor has as many children as it may have, including those that wait for a restart."""

    def __init__(self, supervisor: str, child: str, *, limit: int) -> None:
        super().__init__(
            supervisor,
            child,
            f"supervisor {supervisor!r} has no room for {child!r}: it may have {limit}",
        )
        self.limit = limit


class AlreadyStarted(_ChildError):
    """A child of this name is running; it is `running`."""

    def __init__(self, supervisor: str, child: str, *, running: Child | None) -> None:
        super().__init__(supervisor, child, f"child {child!r} of {supervisor!r} is already started")
        self.running = running


class AlreadyPresent(_ChildError):
    """A child of this name exists, but is not running now."""

    _text = "child {child!r} of {supervisor!r} is already present, but not running"


class ChildRunning(_ChildError):
    """The call needs a child that is not running."""

    _text = "child {child!r} of {supervisor!r} is running"


class ChildRestarting(_ChildError):
    """The call needs a child that is not about to be restarted."""

    _text = "child {child!r} of {supervisor!r} is restarting"


class ChildNotStarted(_ChildError, StartFailed):
    """A child never became ready; what it raised is the `__cause__`."""

    def __init__(self, supervisor: str, child: str, why: object) -> None:
        shown = f"{type(why).__name__}: {why}" if isinstance(why, BaseException) else str(why)
        super().__init__(
            supervisor, child, f"child {child!r} of {supervisor!r} did not start: {shown}"
        )


class ChildGaveUp(_ChildError):
    """A child was restarted as often in a row as it may; its last error is the `__cause__`."""

    def __init__(self, supervisor: str, child: str, *, restarts: int) -> None:
        text = f"child {child!r} of {supervisor!r} is given up after {restarts} restarts in a row"
        super().__init__(supervisor, child, text)
        self.restarts = restarts


class RestartBudgetExceeded(_ChildError):
    """The budget has no more restarts; the first error that used it up is the `__cause__`."""

    def __init__(self, supervisor: str, child: str, *, restarts: int, within: float) -> None:
        text = (
            f"supervisor {supervisor!r} gave up: "
            f"{child!r} needs more than {restarts} restarts within {within:g} s"
        )
        super().__init__(supervisor, child, text)
        self.restarts = restarts
        self.within = within
