"""Drives a headless Chromium over the DevTools protocol; each simulated person has a window.

Rule 1: no sleeping to wait for a page; a script in the page reports when an expression has become true.
Rule 2: the profile is an empty folder of the test; every process that is started is ended.
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
    # All windows are in the background here; none may be throttled.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
)

# Evaluates an expression until it is true, again at every change of the page, and returns its value.
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
        """Send one command and return its result."""
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
        """Open an empty window with cookies and storage of its own."""
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

    async def receive(self) -> None:
        """Receive replies and events until the browser closes the connection."""
        try:
            async for data in self._socket:
                message = json.loads(data)
                if "id" in message:
                    answered, answer = self._waiting[message["id"]]
                    answer.append(message)
                    answered.set()
                elif (window := self._windows.get(message.get("sessionId", ""))) is not None:
                    window.on_event(message["method"], message["params"])
        except ConnectionClosed:
            return


class Window:
    """One page: reads what it shows, and clicks and types as a person would."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        """Uncaught exceptions, and errors that the browser has logged."""

    def on_event(self, method: str, params: dict[str, Any]) -> None:
        """Record an event if it is an error."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> Any:
        """Send one command to this window and return its result."""
        return await self._browser.call(method, self._session, **params)

    async def open_page(self, url: str) -> None:
        """Load another page in this window."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, expression: str) -> Any:
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
                return await self.evaluate(_UNTIL % expression)
        except (TimeoutError, AssertionError) as error:
            text = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {expression}; the page says:\n{text}") from error

    async def click(self, selector: str) -> None:
        """Wait for an element and click in its middle."""
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
        """Replace the text of a field."""
        await self.click(selector)
        await self.evaluate("document.activeElement.select()")
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
        """Set the size of the window, in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    async def prefer_scheme(self, scheme: str) -> None:
        """Set the preferred colour scheme: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self) -> bytes:
        """Return a PNG of what the window shows."""
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
            tasks.start_soon(made.receive)
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
    """Wait for the file in which the browser writes its address."""
    file = folder / "profile" / "DevToolsActivePort"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)  # there is no event to wait for
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
