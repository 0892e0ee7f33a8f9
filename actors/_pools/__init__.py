"""Pools: tasks that wait in one queue, and workers that take the next one as soon as they are free."""
