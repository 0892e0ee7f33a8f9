"""Spans of OpenTelemetry: of each ask one of the asker and one of the handler, of each tell one of the handler.

Rule 1: imported only in systems with `tracing=True`, by the path that they propagate: see `TRACING`.
Rule 2: a message carries the trace as a header, so that asks over several nodes are one trace.
Rule 3: streams and batches carry the trace on, and have no spans of their own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from actors._base import open_telemetry as otel
from actors._messaging.message_table import Handler, MessageKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.mailbox import Envelope

__all__ = ["TRACE", "AskSpan"]

_SPANNED: Final = frozenset({MessageKind.CALL, MessageKind.CONCURRENT})
_ASKED: Final = _SPANNED | {MessageKind.BATCH}


class AskSpan:
    """Takes the place of the reply of an ask: the asker's span ends when it is answered or withdrawn."""

    __slots__ = ("_inner", "_span")

    def __init__(self, inner: Any, span: Any) -> None:
        self._inner = inner
        self._span = span

    def __await__(self) -> Any:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def done(self) -> bool:
        """Whether it was answered, or the asker no longer waits."""
        return bool(self._inner.done())

    def cancelled(self) -> bool:
        """Whether the asker was cancelled."""
        return bool(self._inner.cancelled())

    def set_result(self, value: Any, /) -> None:
        """Answer."""
        self._span.end()
        self._inner.set_result(value)

    def set_exception(self, error: BaseException, /) -> None:
        """Answer by *error*."""
        otel.end(self._span, error)
        self._inner.set_exception(error)

    def given_up(self) -> None:
        """The asker no longer waits, or the message could not be sent."""
        self._span.set_attribute("actors.withdrawn", True)
        self._span.end()


class _Trace:
    """What a system with `tracing=True` propagates beside context variables, and the spans of its messages."""

    carried = staticmethod(otel.carried)
    current = staticmethod(otel.current)
    continued = staticmethod(otel.continued)

    def sending(self, envelope: Envelope, ref: Any, add_headers: Callable[[], None]) -> None:
        """Begin the span of an ask, and have *add_headers* add what belongs to it."""
        handler, reply = envelope.handler, envelope.reply
        if reply is None or isinstance(reply, AskSpan) or handler.kind not in _ASKED:
            add_headers()
            return
        attributes = {**_attributes(ref.cls_path, handler.name), "actors.actor": ref.name}
        span = otel.started(attributes["rpc.method"], "CLIENT", attributes)
        try:
            with otel.entered(span):
                add_headers()
        except BaseException as error:
            otel.end(span, error)
            raise
        answered: Any = AskSpan(reply, span)
        envelope.reply = answered

    def taken(self, envelope: Envelope, ref: Any) -> None:
        """Have the handler of a message run in a span of its own."""
        if envelope.handler.kind in _SPANNED and not isinstance(envelope.handler.fn, _InSpan):
            kind = "CONSUMER" if envelope.reply is None else "SERVER"
            envelope.handler = _spanned(envelope.handler, ref.cls_path, ref.name, kind)

    def given_up(self, envelope: Envelope) -> None:
        """The asker no longer waits for the reply."""
        if isinstance(envelope.reply, AskSpan):
            envelope.reply.given_up()


TRACE: Final = _Trace()


def _attributes(cls_path: str, method: str) -> dict[str, Any]:
    name = f"{cls_path.replace(':', '.')}/{method}"
    return {"rpc.system.name": "actors", "rpc.method": name}


class _InSpan:
    """What runs a handler in a span."""

    def __init__(self, handler: Handler, attributes: dict[str, Any], kind: str) -> None:
        self._fn: Callable[..., Any] = handler.fn
        self._attributes = attributes
        self._kind = kind

    async def __call__(self, actor: Any, *args: Any, **kwargs: Any) -> Any:
        attributes = self._attributes
        with otel.span(attributes["rpc.method"], self._kind, attributes):
            return await self._fn(actor, *args, **kwargs)


@lru_cache(maxsize=4096)
def _spanned(handler: Handler, cls_path: str, actor: str, kind: str) -> Handler:
    """Return a handler that is *handler* in a span; made once, as long as it is in use."""
    made = object.__new__(Handler)
    for name in Handler.__slots__:
        setattr(made, name, getattr(handler, name))
    attributes = {**_attributes(cls_path, handler.name), "actors.actor": actor}
    made.fn = _InSpan(handler, attributes, kind)
    return made
