"""Whether a test can have namespaces of its own here: `unshare` of util-linux."""

from __future__ import annotations

import shutil
import subprocess

__all__ = ["why_no_namespaces"]


def why_no_namespaces(*options: str) -> str:
    """Return why `unshare` cannot run a program with *options* here; "" if it can."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return "there is no unshare (util-linux)"
    done = subprocess.run([unshare, *options, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces here: {done.stderr.strip()}" if done.returncode else ""
