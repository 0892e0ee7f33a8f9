"""OpenTelemetry, where it is installed (extra `otel`): spans, and the trace that messages and requests carry.

Rule 1: the only module that imports it; it is imported only in systems with `tracing=True`.
Rule 2: which provider, sampler and exporter there are is the user's: spans go to the provider that is set.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from actors.supervisors import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry.trace import Span

__all__ = [
    "carried",
    "continued",
    "current",
    "end",
    "entered",
    "fail",
    "links_to",
    "span",
    "started",
]

_NAME: Final = "actors"


def current() -> Any:
    """Return the trace context of the calling code; None if it belongs to no trace."""
    return context.get_current() if trace.get_current_span().get_span_context().is_valid else None


def carried() -> dict[str, str] | None:
    """Return what a message or a request has to carry for the trace to go on; None outside of one."""
    if current() is None:
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def continued(given: Any) -> None:
    """Let the calling code go on with the trace *given*, by `carried` or `current`; None is none."""
    if given is None:
        # Most messages outside of a trace follow another one that was outside, too.
        if current() is not None:
            context.attach(context.Context())
        return
    if not isinstance(given, context.Context):
        given = propagate.extract(given, context=context.Context())
    context.attach(given)


def links_to(carriers: Iterable[Any]) -> list[Link]:
    """Return links to the spans that messages carry, by `carried` or `current`."""
    contexts = (
        given if isinstance(given, context.Context) else propagate.extract(given, context.Context())
        for given in carriers
    )
    return [Link(trace.get_current_span(one).get_span_context()) for one in contexts]


def started(
    name: str, kind: str, attributes: Mapping[str, Any], links: Iterable[Link] = ()
) -> Span:
    """Return a new span below that of the calling code; whoever starts it calls `end`."""
    tracer = trace.get_tracer(_NAME)
    return tracer.start_span(name, kind=SpanKind[kind], attributes=attributes, links=list(links))


@contextmanager
def entered(given: Span) -> Iterator[None]:
    """Let what is sent in the block belong to a span; the block's errors are not the span's."""
    with trace.use_span(given, record_exception=False, set_status_on_exception=False):
        yield


def end(given: Span, error: BaseException | None = None) -> None:
    """End a span, as failed by *error* if there is one."""
    if error is not None:
        _note_error(given, error)
    given.end()


def fail(given: Span, kind: str) -> None:
    """Note that what a span is about has failed, by no exception: *kind* is its ``error.type``."""
    given.set_attribute("error.type", kind)
    given.set_status(Status(StatusCode.ERROR))


@contextmanager
def span(
    name: str, kind: str, attributes: Mapping[str, Any], links: Iterable[Link] = ()
) -> Iterator[Span]:
    """Run the block in a new span below that of the calling code; an error that leaves it is the span's."""
    made = started(name, kind, attributes, links)
    with entered(made):
        try:
            yield made
        except BaseException as error:
            _note_error(made, error)
            raise
        finally:
            made.end()


def _note_error(given: Span, error: BaseException) -> None:
    kind = type(error)
    if not isinstance(error, Exception):  # cancelled, or deferred: no error
        given.set_attribute("actors.ended", kind.__name__)
        return
    given.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
    given.record_exception(error)
    given.set_status(Status(StatusCode.ERROR, f"{kind.__name__}: {shown(error)}"))
