"""Python imports this before anything else: here a node dies before it has said a word to us."""

import os

if os.environ.get("DIE"):
    print("this machine has no licence", flush=True)  # noqa: T201 - what a dying program says
    os._exit(3)
