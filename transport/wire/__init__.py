"""Bytes between two processes: frames, batches, socket reads and writes, msgpack."""

__all__: list[str] = []
