"""The page of the dashboard in a real browser: what it shows, what a click asks, and what it never does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest

from actors.cli.client.flame_graph import flame_graph
from tests.browser.browser_driver import Browser, Window
from tests.cli.running_command import ROOT, Running, command, environment, run_here, running

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def system(no_leaks_in_file: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("d")
    topology = "tests.dashboard.served:topology"
    with running(folder, "run", topology, "--admin", "127.0.0.1:0", cwd=ROOT) as started:
        yield started
        sys.stderr.write("\n".join(started.lines))


@pytest.fixture(scope="module")
def url(system: Running) -> str:
    env = environment(system.runtime)
    shown = subprocess.run(command("admin"), env=env, capture_output=True, text=True, check=True)
    return shown.stdout.strip()


@pytest.fixture(scope="module")
async def window(url: str, one_browser: Browser) -> AsyncIterator[Window]:
    window = await one_browser.open(width=1200, height=900)
    await window.open_page(url)
    await window.until("document.querySelectorAll('#nodes tbody tr').length >= 3")
    yield window
    assert window.errors == []


def row(table: str, name: str) -> str:
    """Return the script that finds a row of a table."""
    key = json.dumps(name)
    return f"[...document.querySelectorAll('#{table} tbody tr')].find(row => row.dataset.key === {key})"


async def click(window: Window, text: str, within: str = "document") -> None:
    """Click the button with a text, as soon as there is one."""
    place = await window.until(
        f"""(() => {{
            const buttons = [...{within}.querySelectorAll('button')];
            const found = buttons.find(button => button.textContent === {json.dumps(text)});
            found.scrollIntoView({{block: 'center'}});
            const box = found.getBoundingClientRect();
            return box.width && [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
    )
    for kind in ("mousePressed", "mouseReleased"):
        await window.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=place[0],
            y=place[1],
            button="left",
            clickCount=1,
        )


async def confirm(window: Window, answer: str) -> str:
    """Answer the question that is open; return it."""
    question: str = await window.until(
        "document.querySelector('#confirm').open && document.querySelector('#confirm-text').textContent"
    )
    await click(window, answer, "document.querySelector('#confirm')")
    await window.until("!document.querySelector('#confirm').open")
    return question


async def replace_filter(window: Window, text: str) -> None:
    """Type into the field above the events, wherever it is scrolled to."""
    await window.evaluate("document.querySelector('#filter').select()")
    if text:
        await window.call("Input.insertText", text=text)
    else:
        await window.press("Backspace", 8)


async def test_nodes_listeners_pools_and_the_tree_are_shown(window: Window) -> None:
    for name in ("web/0", "web/1", "admin/0"):
        assert "READY" in await window.until(f"{row('nodes', name)}.innerText")
    assert "127.0.0.1:" in await window.until(f"{row('listeners', 'shop')}.innerText")
    assert await window.until(f"{row('pools', 'work')}.innerText")
    await window.evaluate("document.querySelectorAll('#tree details').forEach(d => d.open = true)")
    # Its name is text, whatever it looks like.
    await window.until("document.querySelector('#tree').innerText.includes('<i>counter RUNNING')")
    assert await window.evaluate("document.querySelectorAll('i').length") == 0


async def test_the_token_is_not_in_the_address_the_history_or_the_storage(
    window: Window, url: str
) -> None:
    token = url.partition("token=")[2]
    assert token
    seen = await window.evaluate(
        "JSON.stringify([location.href, document.cookie, localStorage, sessionStorage, "
        "document.documentElement.outerHTML])"
    )
    assert token not in seen


async def test_what_is_asked_for_is_done_only_when_it_is_confirmed(window: Window) -> None:
    await click(window, "+", "document.querySelector('#groups')")
    assert await confirm(window, "Cancel") == "Scale web from 2 to 3 nodes?"
    await click(window, "+", "document.querySelector('#groups')")
    assert await confirm(window, "Scale") == "Scale web from 2 to 3 nodes?"
    await window.until(f"{row('nodes', 'web/2')}.innerText.includes('READY')")
    await click(window, "stop", row("nodes", "web/2"))
    assert "web/2" in await confirm(window, "Stop")
    await window.until(f"!({row('nodes', 'web/2')})")


async def test_programs_are_restarted_scaled_and_stopped_when_it_is_confirmed(
    window: Window,
) -> None:
    first, pid = (
        row("programs", "sleeper/0"),
        f"{row('programs', 'sleeper/0')}.cells[2].textContent",
    )
    assert "READY" in await window.until(f"{first}.innerText")
    before = await window.evaluate(pid)
    await click(window, "restart", first)
    assert await confirm(window, "Cancel") == "Replace sleeper/0 by a new process?"
    await click(window, "restart", first)
    await confirm(window, "Restart")
    await window.until(f"{pid} !== {json.dumps(before)} && {first}.innerText.includes('READY')")
    groups = "document.querySelector('#program-groups')"
    await click(window, "+", groups)
    assert await confirm(window, "Scale") == "Scale sleeper from 2 to 3 instances?"
    await window.until(f"{row('programs', 'sleeper/2')}.innerText.includes('READY')")
    await click(window, "stop", row("programs", "sleeper/1"))
    assert await confirm(window, "Stop") == "Stop sleeper/1 for good?"
    await window.until(f"!({row('programs', 'sleeper/1')})")
    await window.until(f"{groups}.innerText.includes('sleeper: 2')")
    await click(window, "\N{MINUS SIGN}", groups)
    assert await confirm(window, "Scale") == "Scale sleeper from 2 to 1 instances?"
    await window.until(f"{groups}.innerText.includes('sleeper: 1')")
    await click(window, "reload", groups)
    assert await confirm(window, "Reload") == (
        "Replace the processes of sleeper one after another?"
    )
    await window.until(
        "[...document.querySelectorAll('#events li')].some(item => "
        "item.innerText.includes('reload_done') && item.innerText.includes('sleeper/0'))"
    )


async def test_a_stack_and_an_actor_open_on_click_and_close_by_key(window: Window) -> None:
    await click(window, "stack", row("nodes", "web/0"))
    await window.until(
        "document.querySelector('#detail-text').textContent.includes('thread MainThread')"
    )
    text = await window.evaluate("document.querySelector('#detail-text').textContent")
    assert "undefined" not in text
    assert "[object" not in text
    await window.press("Escape", 27)
    await window.until("!document.querySelector('#detail').open")
    await click(window, "<i>counter")
    await window.until(
        "document.querySelector('#detail-text').textContent.includes('served:Counter')"
    )
    await click(window, "restart", "document.querySelector('#detail')")
    assert await confirm(window, "Restart") == "Restart actor <i>counter?"
    await window.until(
        "[...document.querySelectorAll('#events li')].some(item => item.innerText.includes('admin_request'))"
    )
    await window.press("Escape", 27)


async def test_a_profile_of_all_nodes_is_drawn_and_a_bar_is_opened_by_click(window: Window) -> None:
    await click(window, "profile all nodes")
    await window.until("document.querySelectorAll('#detail-flame .flame-bar').length > 0")
    text = await window.evaluate("document.querySelector('#detail-text').textContent")
    assert all(name in text for name in ("web/0", "web/1", "admin/0"))
    bars = "[...document.querySelectorAll('#detail-flame .flame-bar')]"
    name = await window.evaluate(f"{bars}.map(bar => bar.textContent).find(text => text !== 'all')")
    await click(window, name, "document.querySelector('#detail-flame')")
    await window.until(
        f"{bars}.some(bar => bar.classList.contains('current') && bar.textContent === {json.dumps(name)})"
    )
    await click(window, "whole", "document.querySelector('#detail-flame')")
    await window.until(
        f"{bars}.find(bar => bar.classList.contains('current')).textContent === 'all'"
    )
    await window.press("Escape", 27)
    await window.until("!document.querySelector('#detail').open")


async def test_requests_handlers_and_what_comes_to_an_actor_are_seen_as_they_come(
    window: Window, system: Running
) -> None:
    shop = system.event("listening", listener="shop")["address"]
    async with httpx.AsyncClient(trust_env=False) as client:
        with anyio.fail_after(30):
            while not await window.evaluate(f"/ms/.test({row('listeners', 'shop')}.innerText)"):
                assert (await client.get(f"http://{shop}/")).text == "served"
    await window.evaluate("document.querySelectorAll('#tree details').forEach(d => d.open = true)")
    await click(window, "patient", "document.querySelector('#tree')")
    await window.until("document.querySelector('#detail-text').textContent.includes('queued    0')")
    env = environment(system.runtime)
    asked = command("ask", "sender", "hurry")
    done = await anyio.run_process(asked, env=env, cwd=ROOT)
    assert done.returncode == 0
    # The dialog looks again by itself.
    detail = "document.querySelector('#detail-text').textContent"
    await window.until(f"/1  wait  [0-9.]+ s/.test({detail})")
    assert "from (code on web/0)" in await window.evaluate(detail)
    await window.press("Escape", 27)
    await window.until(f"{row('handlers', 'Sender.hurry')}.innerText.includes('ms')")


async def test_the_file_of_a_profile_is_readable_alone_and_has_no_markup_of_others(
    one_browser: Browser, tmp_path: anyio.Path
) -> None:
    evil = "</script><img src=x onerror=alert(1)><i>bad</i>"
    frames = [["main", "/a.py", 1], [evil, "/b.py", 2], ["quiet", "/c.py", 3]]
    stacks = [["MainThread", [0, 1], 3.0], ["MainThread", [0, 2], 1.0], ["other", [], 0.5]]
    node = {"name": "web/0", "kind": "process", "pid": 7, "frames": frames, "stacks": stacks}
    file = anyio.Path(tmp_path) / "profile.html"
    await file.write_text(flame_graph({"nodes": [node]}, f"about {evil}"))
    window = await one_browser.open(width=900, height=600)
    await window.open_page(file.as_uri())
    await window.until("document.querySelectorAll('.flame-bar').length === 8")
    assert await window.evaluate("document.querySelectorAll('img, i').length") == 0
    widest = f"[...document.querySelectorAll('.flame-bar')].find(bar => bar.textContent === {json.dumps(evil)})"
    assert abs(await window.evaluate(f"parseFloat({widest}.style.width)") - 100 * 3 / 4.5) < 0.1
    await window.evaluate(f"{widest}.focus()")
    assert "3.000 s (66.7 %)" in await window.evaluate(
        "document.querySelector('.flame-said').textContent"
    )
    await window.press("Enter", 13, "\r")
    await window.until(f"parseFloat({widest}.style.width) === 100")
    await window.press("Backspace", 8)
    await window.until(
        "document.querySelector('.flame-bar.current').textContent === 'main' && "
        "document.activeElement.classList.contains('current')"
    )
    await window.type(".flame-search", "QUIET")
    await window.until("document.querySelectorAll('.flame-bar.found').length === 1")
    if folder := os.environ.get("ACTORS_SCREENSHOTS"):
        await anyio.Path(folder, "flame.png").write_bytes(await window.screenshot())
    assert window.errors == []


async def test_it_can_be_used_with_the_keyboard_alone(window: Window) -> None:
    await window.evaluate("document.querySelector('#nodes tbody button').focus()")
    await window.press("Enter", 13, "\r")
    await window.until("document.querySelector('#detail').open")
    focused = await window.evaluate("document.activeElement.textContent")
    assert focused == "Close"
    await window.press("Enter", 13, "\r")
    await window.until("!document.querySelector('#detail').open")


async def test_events_are_filtered_by_what_is_typed(window: Window) -> None:
    await window.until("document.querySelectorAll('#events li').length > 0")
    await replace_filter(window, "no event says this")
    await window.until("[...document.querySelectorAll('#events li')].every(item => item.hidden)")
    await replace_filter(window, "ADMIN_request")
    await window.until("[...document.querySelectorAll('#events li')].some(item => !item.hidden)")
    await replace_filter(window, "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_readable_in_both_schemes_and_on_a_phone(window: Window, scheme: str) -> None:
    await window.prefer_scheme(scheme)
    await window.evaluate("document.querySelectorAll('dialog').forEach(one => one.close())")
    contrast: Any = await window.evaluate(
        """(() => {
            const parts = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
            const light = colour => { const [r, g, b] = parts(colour).map(v => (v /= 255) <= 0.03928
                ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const style = getComputedStyle(document.querySelector('section'));
            const [a, b] = [light(style.color), light(style.backgroundColor)].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        })()"""
    )
    assert contrast > 7
    await window.resize(390, 800, mobile=True)
    await window.evaluate("scrollTo(0, 0)")
    assert await window.until("document.documentElement.scrollWidth <= 390 && 'fits'") == "fits"
    if folder := os.environ.get("ACTORS_SCREENSHOTS"):
        await anyio.Path(folder, f"phone-{scheme}.png").write_bytes(await window.screenshot())
    await window.resize(1200, 900)
    if folder:
        await anyio.Path(folder, f"{scheme}.png").write_bytes(await window.screenshot())


async def test_without_a_token_it_asks_for_one(one_browser: Browser, url: str) -> None:
    base, _, token = url.partition("#token=")
    window = await one_browser.open()
    await window.open_page(base)
    await window.until("!document.querySelector('#ask-token').hidden")
    await window.type("#token", "wrong")
    await window.press("Enter", 13, "\r")
    await window.until("!document.querySelector('#ask-token').hidden")
    await window.type("#token", token)
    await window.press("Enter", 13, "\r")
    await window.until("document.querySelectorAll('#nodes tbody tr').length >= 3")


async def test_a_node_that_dies_is_seen_and_the_page_goes_on(
    window: Window, system: Running, url: str
) -> None:
    pid = await window.evaluate(f"Number({row('nodes', 'web/1')}.cells[2].textContent)")
    os.kill(pid, 9)
    await window.until(
        "[...document.querySelectorAll('#events li')].some(item => item.innerText.includes('node_died'))"
    )
    await window.until(f"Number({row('nodes', 'web/1')}.cells[2].textContent) !== {pid}")
    # The node of the page itself: the page connects again.
    pid = await window.evaluate(f"Number({row('nodes', 'admin/0')}.cells[2].textContent)")
    os.kill(pid, 9)
    with anyio.fail_after(20):
        await window.until(
            f"{row('nodes', 'admin/0')}.innerText.includes('READY') && "
            f"Number({row('nodes', 'admin/0')}.cells[2].textContent) !== {pid}"
        )
    base, _, token = url.partition("#token=")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
        assert (await client.get(f"{base}api/children")).status_code == 200
    window.errors.clear()  # the connection that ended with its node is one


async def test_places_are_shown_and_fit_a_phone_where_there_are_any(
    one_browser: Browser, window: Window, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert await window.evaluate("document.querySelector('#of-places').hidden")
    folder = tmp_path_factory.mktemp("p")
    topology = "tests.dashboard.served_places:topology"
    with running(folder, "run", topology, "--admin", "127.0.0.1:0", cwd=ROOT) as system:
        url = run_here(system.runtime, "admin")[1].strip()
        page = await one_browser.open(width=1200, height=900)
        await page.open_page(url)
        cells = await page.until(
            f"""(() => {{
                const cells = [...{row("places", "far@0")}.cells].map(cell => cell.textContent);
                return cells[5] !== "\u2013" && cells;
            }})()"""
        )
        assert cells[:2] == ["far@0", "hosts"]
        assert cells[3] == "READY"
        assert cells[5].endswith(" ms")
        assert cells[6].endswith(" s")
        await page.resize(375, 800, mobile=True)
        assert await page.until("document.documentElement.scrollWidth <= 375 && 'fits'") == "fits"
        assert page.errors == []
