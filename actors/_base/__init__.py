"""Errors, events, the log and the event loop interface, for every layer above. Nothing here knows an actor."""

from actors._base.platform import check_platform

__all__: list[str] = []

check_platform()  # before any import that exists only on Unix
