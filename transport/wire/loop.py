"""The six functions of an event loop that a channel needs, so that any loop can be used."""

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["ChannelLoop", "ChannelTimer"]


class ChannelTimer(Protocol):
    """A call that is to be made later."""

    def cancel(self) -> object:
        """Do not make it."""


class ChannelLoop(Protocol):
    """Six functions of an event loop; watches are persistent and level-triggered."""

    def call_soon(self, fn: Callable[..., object], *args: Any) -> object:
        """Run `fn` in the next turn."""

    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> ChannelTimer:
        """Run `fn` in so many seconds."""

    def watch_readable(self, fd: int, fn: Callable[[], object]) -> object:
        """Run `fn` whenever `fd` can be read."""

    def unwatch_readable(self, fd: int) -> object:
        """Stop that."""

    def watch_writable(self, fd: int, fn: Callable[[], object]) -> object:
        """Run `fn` whenever `fd` can be written."""

    def unwatch_writable(self, fd: int) -> object:
        """Stop that."""
