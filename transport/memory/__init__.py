"""Memory that processes share: memfd segments, a pool of them, leases, buffers, atomics."""

__all__: list[str] = []
