"""A module that exits the process that imports it."""

import os

print("this machine has no licence", flush=True)  # noqa: T201 - what a dying program says
os._exit(3)
