"""A channel carries messages both ways: over a socket pair, or between threads of one process."""

__all__: list[str] = []
