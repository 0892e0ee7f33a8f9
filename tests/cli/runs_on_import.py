"""A module that runs a program when it is imported, while it handles something else."""

import asyncio

try:
    int("no number")
except ValueError:
    asyncio.run(None)  # type: ignore[arg-type]  # never looked at: a loop runs already
