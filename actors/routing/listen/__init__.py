"""Listening sockets: addresses, binding, TLS, inherited descriptors, and the listener that owns them."""

__all__: list[str] = []
