"""One running system: topology, supervision tree, placement, node groups, listeners, and its public face."""

# Loaded for its effect: links name error classes by the public module that it gives them.
import actors.errors  # noqa: F401

__all__: list[str] = []
