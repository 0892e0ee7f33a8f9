"""Values to messages and back, and snapshots: the copies that senders within one process make."""

__all__: list[str] = []
