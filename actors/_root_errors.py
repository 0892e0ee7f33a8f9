"""The three errors below everything: what `transport`, `supervisors` and the rest derive theirs from."""

from __future__ import annotations

__all__ = ["ActorsError", "InvalidSpec", "StartFailed"]


class ActorsError(Exception):
    """The root of every error this package raises."""


class InvalidSpec(ActorsError, ValueError):
    """A description that cannot be started, refused where it was written."""


class StartFailed(ActorsError):
    """An actor or a node never became ready: its class, its constructor or `on_start` failed, or an import."""
