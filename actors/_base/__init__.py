"""What every layer above stands on: errors, events, the log and the loop shim. Nothing here knows an actor."""

from actors._base.platform import check_platform

__all__: list[str] = []

check_platform()  # before anything is imported that only Unix has
