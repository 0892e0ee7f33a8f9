"""One running system: topology, supervision tree, placement, node groups, listeners, and its public face."""

__all__: list[str] = []
