"""One actor on its node: cell (its place), incarnation (one run of it), message loop, context.

Nothing here knows another node; supervisors decide above whether an incarnation follows another.
"""

__all__: list[str] = []
