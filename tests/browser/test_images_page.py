"""The page of the service that makes pictures smaller, in a real browser."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.browser_driver import Browser, Window
from tests.end_to_end.server_process import ServerProcess

pytestmark = pytest.mark.browser

NAME = "<i>red & blue.png"


@pytest.fixture(scope="module")
def images(
    no_leaks_in_file: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("images")
    env = {"TMPDIR": str(folder), "IMAGES_PORT": "0"}
    with ServerProcess(
        "run", "examples.images:topology", "--nodes", "web=2", folder=folder, env=env
    ) as served:
        served.port = int(str(served.wait_for("listening")["address"]).rpartition(":")[2])
        yield served
        sys.stderr.writelines(served.lines)


@pytest.fixture(scope="module")
async def window(images: ServerProcess, one_browser: Browser) -> AsyncIterator[Window]:
    window = await one_browser.open()
    await window.open_page(images.url("http", "/"))
    yield window
    assert not images.ended


async def choose(window: Window, *files: Path) -> None:
    """Choose files as a person does in the dialogue of the browser."""
    found = await window.call("Runtime.evaluate", expression="document.querySelector('#files')")
    await window.call(
        "DOM.setFileInputFiles",
        objectId=found["result"]["objectId"],
        files=[str(file) for file in files],
    )


def cell(column: int) -> str:
    """Return the script that reads a figure of all pools together."""
    cells = f"document.querySelectorAll('#pools td:nth-child({column})')"
    return f"[...{cells}].reduce((sum, cell) => sum + parseInt(cell.textContent), 0)"


async def test_an_uploaded_picture_is_shown_with_its_name_and_the_figures_change(
    window: Window, tmp_path: Path
) -> None:
    await window.until("!document.querySelector('#empty').hidden")
    await window.until("document.querySelectorAll('#pools tr').length === 2")
    assert await window.evaluate(cell(4)) == 0
    Image.new("RGB", (640, 480), "red").save(tmp_path / NAME)
    await choose(window, tmp_path / NAME)
    await window.type("#width", "120")
    await window.press("Enter", 13, "\r")

    caption = await window.until("document.querySelector('#gallery figcaption')?.textContent")
    assert caption == f"{NAME}, 120 by 90"
    await window.until("document.querySelector('#gallery img').naturalWidth === 120")
    assert await window.evaluate("document.querySelector('#gallery img').alt") == NAME
    assert await window.evaluate("document.querySelector('#empty').hidden")
    await window.until(f"{cell(4)} === 1")
    await window.until(f"{cell(6)} > 0")
    assert await window.evaluate("document.querySelector('#state').textContent") == "1 done"
    assert window.errors == []


async def test_several_at_once_and_one_that_is_damaged_says_so_beside_the_others(
    window: Window, tmp_path: Path
) -> None:
    before = await window.evaluate("document.querySelectorAll('#gallery li').length")
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file in files:
        Image.effect_noise((300, 200), 50).save(file)
    files[2].write_bytes(files[2].read_bytes()[:1000])
    await choose(window, *files)
    await window.click("#upload button")
    await window.until("document.querySelector('#state').textContent === '6 done'")
    errors = await window.evaluate(
        "[...document.querySelectorAll('#errors li')].map((item) => item.textContent)"
    )
    assert len(errors) == 1
    assert errors[0].startswith("2.png: the picture is damaged: ")
    count = await window.evaluate("document.querySelectorAll('#gallery li').length")
    assert count == before + 5


async def test_a_dropped_picture_is_uploaded(window: Window) -> None:
    before = await window.evaluate("document.querySelectorAll('#gallery li').length")
    await window.evaluate(
        """(async () => {
            const canvas = new OffscreenCanvas(200, 100);
            canvas.getContext('2d').fillRect(0, 0, 50, 50);
            const data = new DataTransfer();
            data.items.add(new File([await canvas.convertToBlob()], 'dropped.png'));
            document.body.dispatchEvent(
                new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
        })()"""
    )
    await window.until(
        f"document.querySelectorAll('#gallery li').length === {before + 1}"
        " && document.querySelector('#gallery figcaption').textContent.startsWith('dropped.png')"
    )


async def test_a_phone_scrolls_in_one_direction_only_and_every_control_has_a_name(
    window: Window,
) -> None:
    await window.resize(320, 640, mobile=True)
    try:
        assert await window.evaluate("document.documentElement.scrollWidth") == 320
    finally:
        await window.resize(640, 560)
    nodes = (await window.call("Accessibility.getFullAXTree"))["nodes"]
    names = [
        node.get("name", {}).get("value", "")
        for node in nodes
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and node["role"]["value"] != "RootWebArea"
    ]
    assert len(names) >= 4
    assert all(names)
