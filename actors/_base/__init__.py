"""Errors, events, the log and the event loop interface, for every layer above. Nothing here knows an actor."""

from actors._base.platform import check_platform, open_standard_descriptors

__all__: list[str] = []

check_platform()  # before any import that exists only on Unix
open_standard_descriptors()  # before a library's own file takes the number of a closed one
