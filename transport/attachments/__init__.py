"""What travels beside a message: descriptors, shared memory, moved buffers and streams."""

__all__: list[str] = []
