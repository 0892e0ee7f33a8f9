"""The last pictures, in a folder that several processes share.

Rule 1: a picture is two files, `ID.webp` and `ID.json`; it is there when the second is, which is written last
and removed first. Names of files are ours alone, never a user's.
Rule 2: every call may block on the disk, so call from a thread, never from an event loop.
"""

import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

__all__ = ["Gallery", "Picture"]

_ID: Final = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is shown. *id* grows with time; *name* is what its user calls it."""

    id: str
    name: str
    width: int
    height: int


class Gallery:
    """The newest pictures of a folder.

    Args:
        folder: where they are.
        most: how many are kept.
    """

    def __init__(self, folder: str | Path, most: int = 60) -> None:
        self._folder = Path(folder)
        self._most = most

    def add(self, name: str, webp: bytes, size: tuple[int, int]) -> Picture:
        """Keep a picture, and remove the oldest ones."""
        picture = Picture(f"{time.time_ns():016x}{secrets.token_hex(4)}", name, *size)
        self._file(picture.id, "webp").write_bytes(webp)
        unfinished = self._file(picture.id, "new")
        unfinished.write_text(json.dumps(asdict(picture)), encoding="utf-8")
        unfinished.rename(self._file(picture.id, "json"))
        for id_ in self._ids()[self._most :]:
            for kind in ("json", "webp"):
                self._file(id_, kind).unlink(missing_ok=True)
        return picture

    def newest(self) -> list[Picture]:
        """Return the pictures, the newest first."""
        found: list[Picture] = []
        for id_ in self._ids()[: self._most]:
            try:
                text = self._file(id_, "json").read_text(encoding="utf-8")
            except FileNotFoundError:
                continue  # another process has just removed it
            found.append(Picture(**json.loads(text)))
        return found

    def file(self, id: str) -> Path | None:  # noqa: A002 - the word of the address
        """Return the file of a picture, None if there is none."""
        file = self._file(id, "webp")
        return file if _ID.fullmatch(id) and file.is_file() else None

    def _ids(self) -> list[str]:
        return sorted((file.stem for file in self._folder.glob("*.json")), reverse=True)

    def _file(self, id_: str, kind: str) -> Path:
        return self._folder / f"{id_}.{kind}"
