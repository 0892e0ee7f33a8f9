"""Chromium without a screen, driven over the DevTools protocol; a window per person.

Rule 1: nobody sleeps here. A page is waited for by itself: it says when something has become so.
Rule 2: the browser's profile is an empty folder of the test; what it starts, it ends.
"""

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

__all__ = ["PATIENCE", "Browser", "Window", "browser", "chromium"]

PATIENCE: Final = 20.0

_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # it is root, in a container, and sees nothing but our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # All windows are in the background here, and none of them may doze.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
)

# The value of an expression as soon as there is one that is true; anything that changes the page
# makes it look again.
_UNTIL: Final = """
new Promise((done, failed) => {
  let observer, timer;
  const look = () => {
    let value = null;
    try { value = (%s); } catch (error) { if (!(error instanceof TypeError)) failed(error); }
    if (!value) return;
    observer.disconnect();
    clearInterval(timer);
    done(value);
  };
  observer = new MutationObserver(look);
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  timer = setInterval(look, 250);  // for what is not in the document, such as a field's value
  look();
})
"""


def chromium() -> str | None:
    """Return the path of Debian's browser, if it is installed."""
    return shutil.which("chromium")


class Browser:
    """One browser: commands go to it and its windows over one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[anyio.Event, list[dict[str, Any]]]] = {}
        self._windows: dict[str, Window] = {}

    async def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Have one command done and return what it gives."""
        number = next(self._numbers)
        answered, answer = self._waiting[number] = (anyio.Event(), [])
        command = {"id": number, "method": method, "params": params}
        await self._socket.send(json.dumps(command | ({"sessionId": session} if session else {})))
        try:
            with anyio.fail_after(PATIENCE):
                await answered.wait()
        except TimeoutError:
            raise AssertionError(f"no answer to {method} {params}") from None
        finally:
            del self._waiting[number]
        assert "error" not in answer[0], f"{method}: {answer[0]['error']}"
        return answer[0]["result"]

    async def open(self, *, width: int = 640, height: int = 560) -> "Window":
        """Open an empty window of somebody else: with cookies and storage of its own."""
        made = await self.call("Target.createBrowserContext")
        context = made["browserContextId"]
        target = await self.call(
            "Target.createTarget", url="about:blank", browserContextId=context, newWindow=True
        )
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        window = self._windows[attached["sessionId"]] = Window(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await window.call(f"{domain}.enable")
        await window.call("Emulation.setFocusEmulationEnabled", enabled=True)
        await window.resize(width, height)
        return window

    async def hear(self) -> None:
        """Take what the browser says until it is gone."""
        try:
            async for data in self._socket:
                message = json.loads(data)
                if "id" in message:
                    answered, answer = self._waiting[message["id"]]
                    answer.append(message)
                    answered.set()
                elif (window := self._windows.get(message.get("sessionId", ""))) is not None:
                    window.happened(message["method"], message["params"])
        except ConnectionClosed:
            return


class Window:
    """One page: what it shows, and what a person would do with it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []
        """Uncaught exceptions, and errors that the browser has logged."""

    def happened(self, method: str, params: dict[str, Any]) -> None:
        """Take note of an event."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> Any:
        """Have one command done in this window."""
        return await self._browser.call(method, self._session, **params)

    async def go(self, url: str) -> None:
        """Open another page here."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def js(self, expression: str) -> Any:
        """Return the value of an expression, a promise's when it is settled."""
        done = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, f"{expression}: {done['exceptionDetails']}"
        return done["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true and return its value."""
        try:
            with anyio.fail_after(PATIENCE):
                return await self.js(_UNTIL % expression)
        except (TimeoutError, AssertionError) as error:
            text = await self.js("document.body.innerText")
            raise AssertionError(f"never true: {expression}; the page says:\n{text}") from error

    async def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element, which has to be there to hit."""
        x, y = await self.until(
            f"""(() => {{
                const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();
                return box.width && [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def type(self, selector: str, text: str) -> None:
        """Write text into a field in place of what is there."""
        await self.click(selector)
        await self.js("document.activeElement.select()")
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release one key."""
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if kind == "keyDown" and text else {}),
            )

    async def resize(
        self, width: int, height: int, *, mobile: bool = False, scale: float = 1
    ) -> None:
        """Be that large, in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    async def prefer(self, scheme: str) -> None:
        """Prefer light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self) -> bytes:
        """Return what is to be seen, as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """Run a browser whose profile is in *folder*, and end it with all its processes."""
    process = _start(folder)
    try:
        address = await anyio.to_thread.run_sync(_address, folder, process)
        async with (
            connect(address, max_size=None, proxy=None) as socket,
            anyio.create_task_group() as tasks,
        ):
            made = Browser(socket)
            tasks.start_soon(made.hear)
            yield made
            tasks.cancel_scope.cancel()
    finally:
        _end(process)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    program = chromium()
    assert program is not None
    with (folder / "chromium.log").open("wb") as log:
        return subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _address(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait for the file in which the browser writes down where it listens."""
    file = folder / "profile" / "DevToolsActivePort"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)  # nothing else tells
    said = (folder / "chromium.log").read_text(errors="replace")
    raise AssertionError(f"chromium does not listen, exit code {process.poll()}:\n{said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    family = [psutil.Process(process.pid)] if process.poll() is None else []
    family += [child for parent in family for child in parent.children(recursive=True)]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(PATIENCE)
    psutil.wait_procs(family, PATIENCE)
