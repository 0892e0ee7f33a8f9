"""Links inside the documentation lead to a heading that is there; files are checked in tests/house."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT

PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCED: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ANCHOR: Final = re.compile(r"\]\(([^)#\s:]*)#([^)\s]+)\)")


def prose(page: Path) -> str:
    """Return the text of *page* without its blocks of code."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors that the site makes of the headings of *page*, and of the names it shows."""
    text = prose(page)
    slugs = [
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
        for heading in _HEADING.findall(text)
    ]
    return {*slugs, *re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_to_a_heading_leads_there(page: Path) -> None:
    lost = [
        f"{link}#{anchor}"
        for link, anchor in _ANCHOR.findall(prose(page))
        if anchor not in anchors((page.parent / link).resolve() if link else page)
    ]

    assert lost == []


def test_every_decision_has_a_number_of_its_own_which_its_title_repeats() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]

    assert numbers == list(range(1, len(pages) + 1))
    titles = [
        int(page.read_text(encoding="utf-8").split(".")[0].removeprefix("# ")) for page in pages
    ]
    assert titles == numbers
