"""The remote traceback of an error from a node, without the frames of this framework, for its user."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from actors.transport import RemoteTraceback

__all__ = ["is_ours", "user_part"]

_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"
_FRAME: Final = re.compile(r'^ *File "([^"]+)"')
_BETWEEN: Final = re.compile(r"\n\n(?=The above exception|During handling)")


def user_part(error: BaseException) -> str:
    """Return the remote traceback of *error* without our frames; empty if no frame is the user's."""
    texts: list[str] = []
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        if isinstance(cause, RemoteTraceback):
            texts.append(cause.text)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    # Each text includes those of its causes, so the first is complete.
    blocks = _BETWEEN.split(texts[0].rstrip("\n")) if texts else []
    kept = [block for block in map(_trimmed, blocks) if block]
    return "\n\n".join(kept)


def _trimmed(block: str) -> str:
    """Return one traceback without our frames; empty if no frame is the user's."""
    kept: list[str] = []
    frames = 0
    ours = False
    for line in block.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            ours = is_ours(frame[1])
            frames += not ours
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept) if frames else ""


def is_ours(file: str) -> bool:
    """Return whether *file* belongs to this framework or to the import machinery, or is not a file."""
    return file.startswith((_PACKAGE, "<")) or file.endswith("/importlib/__init__.py")
