"""How a node's process comes up: launcher, fork server, descriptors, output, the user's main module."""

__all__: list[str] = []
