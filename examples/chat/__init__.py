"""A chat over several processes: rooms that survive crashes, and one port for all of it."""
