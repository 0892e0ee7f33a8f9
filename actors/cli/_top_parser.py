"""The arguments of `actors top`, and their help."""

from __future__ import annotations

import argparse
from typing import Final

__all__ = ["TOP_ORDERS", "top_arguments"]

TOP_ORDERS: Final = (
    *("mailbox", "handling", "rate", "cpu", "memory"),
    *("restarts", "name", "class", "node"),
)
"""The orders of `actors top`: those of the engine, which is not imported here."""


def top_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `actors top`."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--once", action="store_true", help="print once and exit")
    form.add_argument("--plain", action="store_true", help="print text, on a terminal too")
    form.add_argument(
        "--full-screen",
        action="store_true",
        help="fill the terminal, with keys; the default where stdout is one and textual is installed "
        "(extra tui)",
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=float,
        default=1.0,
        help="seconds between two outputs; default: %(default)g",
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        type=int,
        default=20,
        help="number of actors shown as text; default: %(default)s",
    )
    parser.add_argument(
        "--sort",
        choices=TOP_ORDERS,
        default="mailbox",
        help="which actors come first; default: %(default)s, those with most messages waiting",
    )
    parser.epilog = (
        "LAG is the longest delay of the node's event loop. MESSAGES/S counts handled messages. "
        "HANDLING is the method that runs, for how long, and the number of concurrent handlers."
    )
