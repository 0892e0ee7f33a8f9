"""The version of what parents, agents and nodes of different machines say to each other."""

from typing import Final

__all__ = ["WIRE_VERSION"]

WIRE_VERSION: Final = 1
"""Raised with every change that an older program would misunderstand."""
