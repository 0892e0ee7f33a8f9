"""Spans of OpenTelemetry: two of each ask and stream, at both ends, one of each tell, and one of each batch.

Rule 1: imported only in systems with `tracing=True`, by the path that they propagate: see `TRACING`.
Rule 2: a message carries the trace as a header, so that asks over several nodes are one trace.
Rule 3: the span of a stream lasts until its end, and what makes an item runs in it.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from actors._base import open_telemetry as otel
from actors._messaging.context_propagation import CARRIER
from actors._messaging.headers import MessageHeaders
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._messaging.mailbox import Envelope

__all__ = ["TRACE", "AskSpan"]

_SPANNED: Final = frozenset({MessageKind.CALL, MessageKind.CONCURRENT, MessageKind.STREAM})
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
        if handler.kind not in _ASKED or reply is None or _has_span(reply):
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
        if handler.kind is MessageKind.STREAM:
            _innermost(reply).on_end = partial(otel.end, span)
            return
        answered: Any = AskSpan(reply, span)
        envelope.reply = answered

    def taken(self, envelope: Envelope, ref: Any) -> None:
        """Have the handler of a message run in a span of its own."""
        if envelope.handler.kind in _SPANNED and not isinstance(envelope.handler.fn, _InSpan):
            kind = "CONSUMER" if envelope.reply is None else "SERVER"
            envelope.handler = _spanned(envelope.handler, ref.cls_path, ref.name, kind)

    def batch(self, handler: Handler, ref: Any, members: Sequence[Envelope]) -> Handler:
        """Return what handles a batch in a span, which has links to those of its calls."""
        headers = [member.hooks for member in members if isinstance(member.hooks, MessageHeaders)]
        carriers = [one.values[CARRIER] for one in headers if one.values.get(CARRIER)]
        made = _with_span(handler, ref.cls_path, ref.name, "CONSUMER")
        run: Any = made.fn
        run.links = otel.links_to(carriers)
        run.attributes["messaging.batch.message_count"] = len(members)
        return made

    def given_up(self, envelope: Envelope) -> None:
        """The asker no longer waits for the reply, or the reader for items."""
        reply = _innermost(envelope.reply)
        if isinstance(reply, AskSpan):
            reply.given_up()
        elif isinstance(reply, Stream) and reply.on_end is not None:
            on_end, reply.on_end = reply.on_end, None
            on_end(None)  # to close a stream that one has read enough of is the usual end


TRACE: Final = _Trace()


def _attributes(cls_path: str, method: str) -> dict[str, Any]:
    name = f"{cls_path.replace(':', '.')}/{method}"
    return {"rpc.system.name": "actors", "rpc.method": name}


def _has_span(reply: Any) -> bool:
    """Whether the ask of a reply, which may be sent again, has its span already."""
    inner = _innermost(reply)
    return isinstance(inner, AskSpan) or (isinstance(inner, Stream) and inner.on_end is not None)


def _innermost(reply: Any) -> Any:
    """Return the reply or stream that an asker has, which may be wrapped where messages are reported."""
    while not isinstance(reply, AskSpan | Stream) and hasattr(reply, "inner"):
        reply = reply.inner
    return reply


class _InSpan:
    """What runs a handler in a span: here one that returns a value."""

    def __init__(self, handler: Handler, attributes: dict[str, Any], kind: str) -> None:
        self._fn: Callable[..., Any] = handler.fn
        self._kind = kind
        self.attributes = attributes
        self.links: Sequence[Any] = ()

    async def __call__(self, actor: Any, *args: Any, **kwargs: Any) -> Any:
        attributes = self.attributes
        with otel.span(attributes["rpc.method"], self._kind, attributes, self.links):
            return await self._fn(actor, *args, **kwargs)


class _StreamInSpan(_InSpan):
    """The same for a handler that makes items."""

    def __call__(self, actor: Any, *args: Any, **kwargs: Any) -> Any:
        items = self._fn(actor, *args, **kwargs)
        return _Items(
            items, otel.started(self.attributes["rpc.method"], self._kind, self.attributes)
        )


class _Items:
    """The items of a generator, each made in the span of the stream, which ends with the generator."""

    def __init__(self, items: Any, span: Any) -> None:
        self._items = items
        self._span = span
        self._count = 0

    def __aiter__(self) -> _Items:
        return self

    async def __anext__(self) -> Any:
        try:
            with otel.entered(self._span):
                item = await anext(self._items)
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._count += 1
        return item

    async def aclose(self) -> None:
        """Close the generator, and end the span."""
        try:
            with otel.entered(self._span):
                await self._items.aclose()
        finally:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self._span.is_recording():
            self._span.set_attribute("actors.items", self._count)
            otel.end(self._span, error)


@lru_cache(maxsize=4096)
def _spanned(handler: Handler, cls_path: str, actor: str, kind: str) -> Handler:
    """Return a handler that is *handler* in a span; made once, as long as it is in use."""
    return _with_span(handler, cls_path, actor, kind)


def _with_span(handler: Handler, cls_path: str, actor: str, kind: str) -> Handler:
    made = object.__new__(Handler)
    for name in Handler.__slots__:
        setattr(made, name, getattr(handler, name))
    attributes = {**_attributes(cls_path, handler.name), "actors.actor": actor}
    run = _StreamInSpan if handler.kind is MessageKind.STREAM else _InSpan
    made.fn = run(handler, attributes, kind)
    return made
