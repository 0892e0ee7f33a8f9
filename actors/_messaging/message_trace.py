"""What `message` events (systems with `trace=`) say of a payload: transfer mode and bytes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._messaging.message_table import MessageKind
from actors.transport import Mode, choose_mode, payload_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors._messaging.mailbox import Envelope

__all__ = ["answer_facts", "facts_of", "measure", "strongest"]

_ORDER: Final = (Mode.TRANSFER, Mode.SHARED, Mode.LEASE, Mode.COPY, Mode.REFERENCE)
_DEEPEST: Final = 8


def strongest(modes: Iterable[Mode]) -> Mode:
    """Return the mode to report for a message: the rarest of those its parts are sent by."""
    found = set(modes)
    return next((mode for mode in _ORDER if mode in found), Mode.REFERENCE)


def measure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Mode, int]:
    """Return how arguments are passed within a process, and the bytes of the text and buffers in them."""
    parts = [*args, *kwargs.values()]
    leaves = [leaf for part in parts for leaf in _leaves(part, 0)]
    return strongest(_mode_of(part) for part in [*parts, *leaves]), sum(map(_size_of, leaves))


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    """Yield what the builtin containers in *value* hold, down to a depth of `_DEEPEST`."""
    if depth > _DEEPEST:
        return
    inside: Iterable[Any] | None = None
    if isinstance(value, dict):
        inside = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside = value
    if inside is None:
        yield value
        return
    for part in inside:
        yield from _leaves(part, depth + 1)


def _mode_of(value: Any) -> Mode:
    if isinstance(value, tuple | frozenset):
        return Mode.REFERENCE  # their items decide
    return choose_mode(value, same_process=True)


def _size_of(value: Any) -> int:
    value = getattr(value, "value", value)  # of a marked value
    if isinstance(value, str):
        return len(value)
    data = payload_bytes(value)
    return 0 if data is None else data.nbytes


def facts_of(envelope: Envelope, sender: str, actor: Any, mode: Mode, size: int) -> dict[str, Any]:
    """Return the facts of a `message` event."""
    asked = "tell" if envelope.reply is None else "ask"
    verb = "stream" if envelope.handler.kind is MessageKind.STREAM else asked
    return answer_facts(verb, envelope.handler.name, sender, actor, actor.node, mode, size)


def answer_facts(
    verb: str, method: str, node: str, actor: Any, to: str, mode: Mode, size: int
) -> dict[str, Any]:
    """Return the facts of the `message` event of an answer: a reply, an error or an item of a stream."""
    return {
        "verb": verb,
        "node": node,
        "actor": actor.name,
        "to": to,
        "method": method,
        "mode": mode.value,
        "bytes": size,
    }
