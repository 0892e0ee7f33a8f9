"""`make docs` builds the site: every link leads somewhere, every public name is there, nothing is fetched."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.browser.browser_driver import browser, chromium
from tests.docs.test_reference import pages, public_names, shown_as

ROOT: Final = Path(__file__).resolve().parents[2]
SITE: Final = ROOT / "build" / "site"

_FETCHED: Final = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
    r"|data-md-component=\"source\"|class=\"mermaid"
)


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, built anew."""
    done = subprocess.run(
        ["/usr/bin/make", "docs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


def test_the_site_shows_every_public_name_and_fetches_nothing(site: Path) -> None:
    html = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert len(html) > 30
    fetched = {page.name: _FETCHED.findall(text) for page, text in html.items()}
    assert {name: found for name, found in fetched.items() if found} == {}
    for name in map(shown_as, public_names()):
        assert name is not None
        page = site / "reference" / f"{pages()[name].stem}.html"
        assert f'id="{name}"' in html[page]


@pytest.mark.skipif(chromium() is None, reason="no chromium (.ci/run installs it)")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_search_of_the_site_finds_a_name(address: str, tmp_path: Path) -> None:
    async with browser(tmp_path) as started:
        window = await started.open()
        await window.open_page(f"{address}/index.html?q=tell_nowait")
        found = await window.until("document.querySelector('.md-search-result__link')?.href")

    assert found.startswith(f"{address}/reference/")
