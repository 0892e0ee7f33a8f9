"""The chat's page in a real browser: two windows, one room, and nodes that are killed under them."""

import base64
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from tests.browser.browser_driver import Browser, Window
from tests.end_to_end.server_process import ServerProcess

pytestmark = pytest.mark.browser

IMAGES = os.environ.get("CHAT_IMAGES")
"""A folder: where to leave the pictures that the documentation shows."""

CONNECTED = "document.querySelector('#state').dataset.state === 'connected'"


class Person:
    """Somebody at a window of the chat."""

    def __init__(self, chat: ServerProcess, window: Window, name: str) -> None:
        self.chat = chat
        self.window = window
        self.name = name

    async def joins(self, room: str) -> None:
        """Fill in the door, or be let in at once if this window has been here before."""
        await self.window.open_page(self.chat.url("http", "/", room=room))
        if await self.window.until("['#door', '#chat'].find((id) => !$q(id).hidden)") == "#door":
            assert await self.window.evaluate("$q('#room').value") == room
            await self.window.type("#name", self.name)
            await self.window.click("#join .button")
        await self.window.until(CONNECTED)

    async def says(self, text: str, to: str | None = None) -> None:
        """Write and press Enter."""
        chosen = await self.window.evaluate("$q('#to').value.split('#')[0]")
        if chosen != (to or ""):
            await self.window.click(f'#people button[data-name^="{to or chosen}#"]')
        await self.window.type("#words", text)
        await self.window.press("Enter", 13, "\r")

    async def has(self, *texts: str) -> None:
        """Wait until these are delivered here, and nothing of one's own is still under way."""
        wanted = json.dumps(texts)
        await self.window.until(
            f"""{wanted}.every((text) => $texts().includes(text))
            && !$q('#pending').children.length"""
        )

    async def sees(self, *names: str) -> None:
        """Wait until exactly these are here, each once."""
        shown = json.dumps(sorted(f"{name} (you)" if name == self.name else name for name in names))
        await self.window.until(
            f"$all('#people li').map((i) => i.textContent).sort().join() === {shown}.join()"
        )

    async def log(self) -> list[list[Any]]:
        """Return what was said as it is shown: number, who, text."""
        found = await self.window.evaluate(
            """$all('#log .message').map((i) =>
                [+i.dataset.seq, i.querySelector('.who').textContent, i.querySelector('.text').textContent])"""
        )
        return [[seq, self.name if who == "You" else who, text] for seq, who, text in found]

    async def node(self) -> str:
        """Return the node that the page says it is served by."""
        text: str = await self.window.evaluate("$q('#node').textContent")
        return text.removeprefix("served by ")


SHORTHANDS = """
window.$q = (selector) => document.querySelector(selector);
window.$all = (selector) => [...document.querySelectorAll(selector)];
window.$texts = () => $all('#log .text').map((item) => item.textContent);
"""


@pytest.fixture(scope="module")
async def people(chat: ServerProcess, one_browser: Browser) -> AsyncIterator[list[Person]]:
    """Three windows, each with cookies and storage of its own."""
    made = [Person(chat, await one_browser.open(), name) for name in ("ann", "bob", "eve")]
    for person in made:
        await person.window.call("Page.addScriptToEvaluateOnNewDocument", source=SHORTHANDS)
    yield made
    assert not chat.ended


async def test_two_windows_in_one_room_chat_and_see_each_other_come_type_and_leave(
    people: list[Person],
) -> None:
    ann, bob, _ = people
    await ann.joins("kitchen")
    await ann.sees("ann")
    await bob.joins("kitchen")
    for person in (ann, bob):
        await person.sees("ann", "bob")
    assert await ann.node() == await bob.node()
    assert (await ann.node()).startswith("web/")

    await ann.says("hello bob")
    await bob.has("hello bob")
    await bob.window.type("#words", "hello")
    await ann.window.until("$q('#typing').textContent === 'bob is typing…'")
    await bob.says("<b>hello</b> ann & all")
    for person in (ann, bob):
        await person.has("<b>hello</b> ann & all")
    assert await ann.window.evaluate("$q('#typing').textContent") == ""
    assert await ann.log() == await bob.log()

    await bob.window.click("#leave")
    await ann.sees("ann")
    await ann.window.until("$q('#log').textContent.includes('bob has left')")
    assert [person.window.errors for person in (ann, bob)] == [[], []]


async def test_a_private_message_is_seen_by_its_addressee_alone_also_after_a_reload(
    people: list[Person],
) -> None:
    ann, bob, eve = people
    for person in people:
        await person.joins("whispers")
    await ann.sees("ann", "bob", "eve")
    await ann.says("only for bob", to="bob")
    await ann.says("for everybody")
    for _ in range(2):
        for person in people:
            await person.has("for everybody")
        for person in (ann, bob):
            await person.has("only for bob")
        assert "only for bob" not in await eve.window.evaluate("document.documentElement.innerHTML")
        assert await eve.log() == [[2, "ann", "for everybody"]]
        assert (
            await bob.window.evaluate("$q('.message.private .note').textContent") == "only to you"
        )
        for person in people:
            await person.joins("whispers")
            await person.sees("ann", "bob", "eve")


async def test_who_goes_to_another_page_leaves_and_is_back_with_the_back_button(
    people: list[Person],
) -> None:
    ann, bob, _ = people
    for person in (ann, bob):
        await person.joins("hall")
    await bob.sees("ann", "bob")
    await ann.window.open_page("about:blank#elsewhere")
    await bob.sees("bob")
    await bob.says("hello?")
    await bob.has("hello?")
    await ann.window.evaluate("history.back()")
    await ann.window.until("location.href !== 'about:blank#elsewhere'")
    await ann.has("hello?")
    await bob.sees("ann", "bob")


async def test_the_room_goes_on_after_kill_9_of_its_web_node_and_of_the_rooms_node(
    chat: ServerProcess, people: list[Person]
) -> None:
    ann, bob, _ = people
    expected = []

    async def turn(person: Person, text: str) -> None:
        expected.append([person.name, text])
        await person.says(text)

    for person in (ann, bob):
        await person.joins("lunch")
    await turn(ann, "Who is in for lunch?")
    await bob.has("Who is in for lunch?")
    await turn(bob, "Me. Is this thing reliable?")
    await ann.has("Me. Is this thing reliable?")
    node = await ann.node()

    chat.signal(node, signal.SIGKILL)
    await turn(ann, "I have just killed our web node with kill -9.")
    await turn(bob, "I was typing when it happened.")
    for person in (ann, bob):
        await person.has(*(text for _, text in expected))
    await chat.hears("node ready", node=node, restarts=1)
    # Two who write while they are cut off may come back in any order.
    order = await ann.log()
    assert sorted([who, text] for _, who, text in order) == sorted(expected)
    expected = [[who, text] for _, who, text in order]

    chat.signal("rooms/0", signal.SIGKILL)
    await turn(bob, "And now the node with the room itself.")
    for person in (ann, bob):
        await person.has(*(text for _, text in expected))
    await turn(ann, "Nothing missing, nothing twice. Noon?")
    for person in (ann, bob):
        await person.has(*(text for _, text in expected))
        await person.sees("ann", "bob")
        await person.window.until(CONNECTED)

    numbered = [[seq, who, text] for seq, (who, text) in enumerate(expected, 1)]
    assert await ann.log() == await bob.log() == numbered
    if IMAGES:
        await picture([ann.window, bob.window], "chat-after-kill.png")


@pytest.mark.parametrize("width", [320, 390])
async def test_a_phone_scrolls_in_one_direction_only(people: list[Person], width: int) -> None:
    ann, bob, eve = people
    phone = bob.window
    await phone.resize(width, 640, mobile=True, scale=2)
    try:
        for person in people:
            await person.joins("a room with a rather long name for such a small screen")
        await ann.says("x" * 400)
        await ann.says("See you at noon!")
        await eve.says("https://example.org/" + "a-long-way/" * 20)
        await bob.says("On my way 🚲", to="ann")
        await bob.has("x" * 400, "See you at noon!", "On my way 🚲")
        await phone.until("$texts().length % 4 === 0")
        assert await phone.evaluate("innerWidth") == width
        wide = "$all('body *').filter((i) => i.getBoundingClientRect().right > innerWidth + 1)"
        assert await phone.evaluate(f"{wide}.map((i) => i.outerHTML)") == []
        assert await phone.evaluate("document.documentElement.scrollWidth") == width
        assert await phone.evaluate("document.documentElement.scrollHeight") == 640
        assert await phone.evaluate("$q('#scroll').scrollWidth - $q('#scroll').clientWidth") == 0
        if IMAGES and width == 390:
            for person in people:
                await person.joins("lunch")
            await bob.sees("ann", "bob", "eve")
            await phone.prefer_scheme("dark")
            await bob.says("Table for two, please.", to="ann")
            await bob.has("Table for two, please.")
            await save(phone, "chat-phone.png")
        await phone.click("#leave")
        await phone.until("!$q('#door').hidden")
        assert await phone.evaluate("document.documentElement.scrollWidth") == width
    finally:
        await phone.prefer_scheme("")
        await phone.resize(640, 560)


# The ratio of WCAG 2, for every text that is shown, against the nearest ground that is painted.
CONTRASTS = """
(() => {
  const rgba = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => rgba(colour).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (item) => {
    const colour = getComputedStyle(item).backgroundColor;
    return rgba(colour)[3] === 0 ? ground(item.parentElement) : colour;
  };
  const shown = $all('#chat *').filter((item) => item.checkVisibility()
    && [...item.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return shown.map((item) => {
    const pair = [light(getComputedStyle(item).color), light(ground(item))].sort((a, b) => b - a);
    return [item.outerHTML.slice(0, 80), (pair[0] + 0.05) / (pair[1] + 0.05)];
  });
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_and_every_control_has_a_name(
    people: list[Person], scheme: str
) -> None:
    ann, bob, _ = people
    for person in (ann, bob):
        await person.joins("clear")
    await ann.sees("ann", "bob")
    await bob.says(f"hello {scheme}")
    await bob.says(f"psst {scheme}", to="ann")
    await ann.says(f"yes {scheme}", to="bob")
    await ann.has(f"hello {scheme}", f"psst {scheme}", f"yes {scheme}")
    await ann.window.prefer_scheme(scheme)
    contrasts = await ann.window.evaluate(CONTRASTS)
    nodes = (await ann.window.call("Accessibility.getFullAXTree"))["nodes"]
    await ann.window.prefer_scheme("")

    assert len(contrasts) > 10
    assert [low for low in contrasts if low[1] < 4.5] == []
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and node["role"]["value"] != "RootWebArea"
    ]
    assert {role for role, _ in controls} >= {"button", "textbox", "combobox"}
    assert [control for control in controls if not control[1]] == []


async def picture(windows: list[Window], file: str) -> None:
    """Leave one picture of several windows, side by side."""
    shots = [base64.b64encode(await window.screenshot()).decode() for window in windows]
    images = "".join(f'<img src="data:image/png;base64,{shot}">' for shot in shots)
    frame = windows[0]
    back = await frame.evaluate("location.href")
    style = (
        "body{margin:0;padding:16px;display:flex;gap:16px;background:#8a94a6}img{border-radius:8px}"
    )
    await frame.resize(640 * len(windows) + 16 * (len(windows) + 1), 560 + 32)
    await frame.call("Page.navigate", url="about:blank")
    await frame.until("location.href === 'about:blank'")
    await frame.evaluate(f"document.documentElement.innerHTML = `<style>{style}</style>{images}`")
    await frame.until("[...document.images].every((image) => image.complete)")
    await save(frame, file)
    await frame.resize(640, 560)
    await frame.open_page(back)


async def save(window: Window, file: str) -> None:
    """Leave a picture of one window."""
    assert IMAGES
    await (anyio.Path(IMAGES) / file).write_bytes(await window.screenshot())
