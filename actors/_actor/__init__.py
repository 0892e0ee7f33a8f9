"""One actor on its node: cell (what outlives restarts), incarnation (one run), message loop, context.

Nothing here knows another node; supervisors decide above whether an incarnation follows another.
"""

__all__: list[str] = []
