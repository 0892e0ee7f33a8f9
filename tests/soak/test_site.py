"""`make docs` builds the site: every link leads somewhere, every public name is there, nothing is fetched."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.docs.test_reference import pages, public_names, shown_as

ROOT: Final = Path(__file__).resolve().parents[2]
SITE: Final = ROOT / "build" / "site"

_FETCHED: Final = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
    r"|data-md-component=\"source\"|class=\"mermaid"
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


def test_the_site_is_built_and_shows_every_public_name_and_fetches_nothing() -> None:
    done = subprocess.run(
        ["/usr/bin/make", "docs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    html = {page: page.read_text(encoding="utf-8") for page in SITE.rglob("*.html")}
    assert len(html) > 30
    fetched = {page.name: _FETCHED.findall(text) for page, text in html.items()}
    assert {name: found for name, found in fetched.items() if found} == {}
    for name in map(shown_as, public_names()):
        assert name is not None
        page = SITE / "reference" / f"{pages()[name].stem}.html"
        assert f'id="{name}"' in html[page]
    assert '"location":"reference/' in (SITE / "search" / "search_index.json").read_text()
