"""Values to messages and back, and the copy of a value that a sender keeps."""

__all__: list[str] = []
