"""Makes `docs/images/top.svg`: the full-screen `actors top` of the system of the operations guide.

Run it with ``.venv/bin/python docs/top_screenshot.py``.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from actors.cli.top.screen import Top
from actors.cli.top.source import Source

HERE: Final = Path(__file__).parent
PAGE: Final = HERE / "guides" / "operations.md"
PICTURE: Final = HERE / "images" / "top.svg"
SIZE: Final = (110, 20)


def program() -> str:
    """Return the program of the guide."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


async def picture(source: Source) -> str:
    """Return what the terminal shows after some looks, with the events."""
    look = source.ask_now("top", wait=1.0, seconds=0.5, rows=50, by="mailbox")
    app = Top(source, interval=0.5, order="mailbox", look=look)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(2.0)
        svg: str = app.export_screenshot(title="actors top")
    # Nothing is loaded from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "monospace")


def main() -> None:
    """Run the system, and write the picture."""
    with tempfile.TemporaryDirectory(prefix="top-") as folder:
        Path(folder, "shop.py").write_text(program(), encoding="utf-8")
        os.environ["XDG_RUNTIME_DIR"] = folder
        command = [sys.executable, "-m", "actors", "run", "shop:topology"]
        with subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=folder, stderr=subprocess.PIPE, text=True
        ) as system:
            assert system.stderr is not None
            while "control socket" not in system.stderr.readline():
                pass
            source = Source(None)
            try:
                PICTURE.write_text(asyncio.run(picture(source)), encoding="utf-8")
            finally:
                source.close()
                system.terminate()


if __name__ == "__main__":
    main()
