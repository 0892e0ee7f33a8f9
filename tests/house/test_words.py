"""Words of a private dialect do not come back: names, comments and pages use the words of the field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("actors", "supervisors", "transport")
PAGES: Final = [
    *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.py"))),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]
FIELD_WORDS: Final = {
    "baggage": "message headers",
    "belongings": "resources of an incarnation",
    "cargo": "attachments",
    "crowd": "dynamic children",
    "forsaken": "host lost",
    "hostless": "host down",
    "intake": "receiver",
    "passage": "thread channel",
    "pictured": "tree snapshot",
    "sitter": "kernel member",
    "slay": "kill all",
    "tenancy": "replacement",
    "tenure": "node replacement",
    "untold": "opaque key",
}


@pytest.mark.parametrize("word", FIELD_WORDS)
def test_a_word_that_only_we_used_does_not_come_back(word: str) -> None:
    # As a word, or as a part of a name: `crowd`, `_crowd`, `crowd_of`, `CrowdOwner`, `crowds`.
    as_word = re.compile(rf"(?i:(?<![a-z]){word}s?(?![a-z]))|{word.title()}(?![a-z])")
    found = [
        f"{page.relative_to(ROOT)}:{number}: {line.strip()}"
        for page in PAGES
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if as_word.search(line)
    ]

    assert found == [], f"say {FIELD_WORDS[word]!r} instead of {word!r}"
