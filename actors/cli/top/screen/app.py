"""The full-screen `actors top` as a program: how it begins, and how it ends.

Rule: whatever ends it, the terminal is as it was: keys, signals, an error, and a terminal that is gone.
"""

from __future__ import annotations

import asyncio
import select
import signal
import sys
from argparse import Namespace
from functools import partial
from typing import Final

from textual import events
from textual.app import App

from actors.cli.top.pages import Facts
from actors.cli.top.plain import LONGEST_INTERVAL
from actors.cli.top.screen.lists import Lists
from actors.cli.top.source import Source

__all__ = ["Top", "show_top"]

_QUICK: Final = 0.1
"""Seconds of the first look."""
_GONE_WITHIN: Final = 1.0
"""Seconds between two looks whether the terminal is still there."""
_ROWS: Final = 100
"""Actors of the first look."""
_ENDS: Final = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
"""The exit code of each signal that ends it."""


class Top(App[None]):
    """The program.

    Args:
        source: the system.
        interval: seconds between two looks.
        order: of the actors at first.
        look: the first look.
    """

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, source: Source, *, interval: float, order: str, look: Facts) -> None:
        super().__init__(ansi_color=True)
        self._lists = Lists(source, interval=interval, order=order, look=look)

    async def on_mount(self) -> None:
        """Take the signals, and show the lists."""
        loop = asyncio.get_running_loop()
        for number, code in _ENDS.items():
            loop.add_signal_handler(number, partial(self.exit, return_code=code))
        self.set_interval(_GONE_WITHIN, self._end_with_terminal)
        await self.push_screen(self._lists)

    def _end_with_terminal(self) -> None:
        """End if the terminal has gone without a signal, as one does that controls another session."""
        poll = select.poll()
        poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        if poll.poll(0):  # it has hung up: nothing else is asked for
            self.exit(return_code=_ENDS[signal.SIGHUP])

    async def on_event(self, event: events.Event) -> None:
        """Give the keys that are typed into the filter to it, in their order; all else is as it is."""
        key = event if isinstance(event, events.Key) and not event.is_forwarded else None
        if key is None or self.screen is not self._lists or not self._lists.typing:
            await super().on_event(event)
        elif key.key == "ctrl+c":
            self.action_interrupt()
        else:
            self._lists.type_key(key.key, key.character)

    def action_interrupt(self) -> None:
        """End as Ctrl-C ends other commands."""
        self.exit(return_code=_ENDS[signal.SIGINT])


def show_top(options: Namespace) -> None:
    """Run it until the user leaves it.

    Raises:
        CommandFailed: there is no such system at the beginning, or an option that it refuses.
        SystemExit: with the exit code, where that is not 0.
    """
    source = Source(options.pid)
    interval: float = options.interval
    try:
        # What is wrong with the command is told before the screen is taken: the system refuses it.
        first = min(interval, _QUICK) if interval <= LONGEST_INTERVAL else interval
        look = source.ask_now("top", seconds=max(0.0, first), rows=_ROWS, by=options.sort)
        app = Top(source, interval=interval, order=options.sort, look=look)
        app.run(mouse=False)
    finally:
        source.close()
    if app.return_code:
        raise SystemExit(app.return_code)
