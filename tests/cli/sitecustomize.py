"""Python imports this first: with `DIE` set, a node exits before it has sent anything to its parent; with
`NO_PIDFDS` there are none, as on macOS.
"""

import os

if os.environ.get("DIE"):
    print("this machine has no licence", flush=True)  # noqa: T201 - what a dying program says
    os._exit(3)
if os.environ.get("NO_PIDFDS"):
    del os.pidfd_open
