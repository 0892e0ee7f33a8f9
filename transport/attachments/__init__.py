"""What is sent beside the frame of a message: descriptors, shared memory, moved buffers and streams."""

__all__: list[str] = []
