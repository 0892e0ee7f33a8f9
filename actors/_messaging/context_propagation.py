"""Propagation: context variables that go with every message, in systems that name some (`propagate=`).

Rule 1: their values are read and copied when the message is sent.
Rule 2: a handler sees the values of its own message, and none of the message before it.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, Token
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import InvalidSpec, not_sendable
from actors.transport import Unsendable, snapshot_for_many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TRACING", "Propagation", "check_paths"]

TRACING: Final = "actors._messaging.spans:TRACE"
"""The path that systems with `tracing=True` propagate beside context variables."""
CARRIER: Final = "trace"

_UNSET: Final = object()

_TOKENS: Final[ContextVar[dict[ContextVar[Any], Token[Any]] | None]] = ContextVar(
    "actors_propagated", default=None
)
"""Tokens that reset variables without a default; each belongs to the context it was made in."""


def check_paths(where: str, paths: Sequence[Any]) -> tuple[str, ...]:
    """Return *paths* as a tuple.

    Raises:
        InvalidSpec: one is not of the form "module:name", or is there twice.
    """
    if isinstance(paths, str):
        raise InvalidSpec(f"{where}: propagate is a list of import paths, got {paths!r}")
    for path in paths:
        if isinstance(path, ContextVar):
            raise InvalidSpec(
                f"{where}: propagate takes import paths, which mean the same on every node: "
                f'write "module:{path.name}" for {path.name!r}, as where it is imported from'
            )
        module, colon, name = path.partition(":") if isinstance(path, str) else ("", "", "")
        if not (module and colon and name):
            raise InvalidSpec(
                f'{where}: propagate takes "module:name" of context variables, got {path!r}'
            )
        if list(paths).count(path) > 1:
            raise InvalidSpec(f"{where}: propagate names {path!r} twice")
    return tuple(paths)


def _find(path: str) -> ContextVar[Any]:
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidSpec(f"propagate: there is no {path!r}: {error}") from error
    if not isinstance(found, ContextVar):
        raise InvalidSpec(f"propagate: {path!r} is no ContextVar, but {found!r}")
    return found


def _find_trace() -> Any:
    """Return what makes spans.

    Raises:
        InvalidSpec: OpenTelemetry is not installed.
    """
    module, _, name = TRACING.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        why = f"tracing=True needs {error.name}: pip install 'actors-framework[otel]'"
        raise InvalidSpec(why) from error


def _default_of(variable: ContextVar[Any]) -> Any:
    try:
        return Context().run(variable.get)
    except LookupError:
        return _UNSET


class Propagation:
    """The variables that a system propagates, found in this process.

    Raises:
        InvalidSpec: one cannot be imported, or is not a ContextVar.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths: tuple[str, ...] = tuple(paths)
        self.trace: Any = _find_trace() if TRACING in self.paths else None
        """Makes spans, in systems with `tracing=True`."""
        own = [path for path in paths if path != TRACING]
        self._variables = {f"context variable {path}": _find(path) for path in own}
        self._defaults = {label: _default_of(var) for label, var in self._variables.items()}
        self._labels = [*self._variables, CARRIER]

    @classmethod
    def of(cls, paths: Sequence[str]) -> Propagation | None:
        """Return the propagation of *paths*, or None if there are none."""
        return cls(paths) if paths else None

    def values(self) -> dict[str, Any]:
        """Return copies of the values in the caller's context.

        Raises:
            NotSendable: one of them cannot be sent.
        """
        found = {}
        for label, variable in self._variables.items():
            value = variable.get(_UNSET)
            if value is not _UNSET and value is not self._defaults[label]:
                try:
                    found[label] = snapshot_for_many(value, label)
                except Unsendable as error:
                    raise not_sendable(error) from error
        if self.trace is not None and (carried := self.trace.carried()):
            found[CARRIER] = carried
        return found

    def current(self) -> dict[str, Any]:
        """Return the values in the caller's context themselves, for another context of this process."""
        found = {label: variable.get(_UNSET) for label, variable in self._variables.items()}
        if self.trace is not None:
            found[CARRIER] = self.trace.current()
        return {label: value for label, value in found.items() if value is not _UNSET}

    def apply(self, values: Mapping[str, Any]) -> None:
        """Set the *values* of the message that is handled next, and reset all other variables."""
        for label, variable in self._variables.items():
            value = values.get(label, self._defaults[label])
            if self._defaults[label] is _UNSET:
                _set_without_default(variable, value)
            elif variable.get() is not value:
                variable.set(value)
        if self.trace is not None:
            self.trace.continued(values.get(CARRIER))

    def packed(self, values: Mapping[str, Any]) -> list[Any]:
        """Return encoded values as a link sends them: each behind the number of its variable."""
        return [part for label in values for part in (self._labels.index(label), values[label])]

    def unpacked(self, parts: Sequence[Any]) -> dict[str, Any]:
        """Return the values of a message from a link; the reverse of `packed`."""
        numbers = iter(parts)
        return {self._labels[number]: value for number, value in zip(numbers, numbers, strict=True)}


def _set_without_default(variable: ContextVar[Any], value: Any) -> None:
    """Set or reset a variable that has no default, by the token of its last `set`."""
    tokens = _TOKENS.get()
    if tokens is None:
        tokens = {}
        _TOKENS.set(tokens)
    token = tokens.pop(variable, None)
    if token is not None:
        variable.reset(token)
    if value is not _UNSET:
        tokens[variable] = variable.set(value)
