"""Which node gets a connection: pure functions over snapshots of the nodes."""

__all__: list[str] = []
