"""`actors top` over the whole screen, with textual (extra ``tui``), which nothing else imports."""

from actors.cli.top.screen.app import Top, show_top

__all__ = ["Top", "show_top"]
