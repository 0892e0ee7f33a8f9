"""What `make docs` does beside MkDocs: pages from the root of the repository, and the links of all pages.

The pages are written for two readers. In the repository a link leads to a file; on the site, a file that is
no page of it is a link into the repository.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File

from actors.cli._parser import parser

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
FROM_ROOT: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the site that are files beside `docs/`."""

_ENTRIES: Final = "<!-- entries -->"
_NAMES: Final = "<!-- names -->"
_COMMANDS: Final = "<!-- commands -->"
_DIRECTIVE: Final = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
_LINK: Final = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
_FENCED: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def on_config(config: Any) -> Any:
    """Write the folders of the navigation out: `guides/*` stands for all pages not named before."""
    named = set(_named(config.nav))
    config.nav = _expanded(config.nav, named)
    return config


def _named(nav: list[Any]) -> list[str]:
    """Return the pages that a navigation names."""
    found: list[str] = []
    for entry in nav:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            found += _named(value) if isinstance(value, list) else [value]
    return found


def _expanded(nav: list[Any], named: set[str]) -> list[Any]:
    """Return *nav* with each `folder/*` replaced by the pages of that folder."""
    result: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and entry.endswith("/*"):
            pages = sorted((DOCS / entry).parent.glob("*.md"))
            paths = [page.relative_to(DOCS).as_posix() for page in pages]
            result += [path for path in paths if path not in named]
        elif isinstance(entry, dict):
            result.append(
                {
                    title: _expanded(value, named) if isinstance(value, list) else value
                    for title, value in entry.items()
                }
            )
        else:
            result.append(entry)
    return result


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are files beside `docs/`."""
    for source, page in FROM_ROOT.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace(_ENTRIES, _unreleased())
        files.append(File.generated(config, page, content=text))
    return files


def _unreleased() -> str:
    """Return what the fragments of `changes/` say, as the entry that towncrier will make of them."""
    parts = []
    for kind in ("added", "changed", "removed", "fixed"):
        found = sorted((ROOT / "changes").glob(f"*.{kind}.md"))
        texts = [" ".join(path.read_text(encoding="utf-8").split()) for path in found]
        if texts:
            parts.append("\n".join([f"### {kind.title()}", "", *(f"- {text}" for text in texts)]))
    return "\n\n".join(["## Not released yet", *parts] if parts else [])


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Let each link lead to a page of the site, or into the repository."""
    sources = {made: source for source, made in FROM_ROOT.items()}
    uri = page.file.src_uri
    folder = ROOT if uri in sources else (DOCS / uri).parent

    def lead(found: re.Match[str]) -> str:
        begin, link, end = found.groups()
        return f"{begin}{_target(folder, link, uri, config.extra['repository'])}{end}"

    markdown = markdown.replace(_NAMES, _table_of_names()).replace(_COMMANDS, _help_of_commands())
    kept = [(block.start(), block.end()) for block in _FENCED.finditer(markdown)]
    return _LINK.sub(
        lambda found: found[0] if any(a < found.start() < b for a, b in kept) else lead(found),
        markdown,
    )


def _target(folder: Path, link: str, uri: str, repository: str) -> str:
    """Return where *link* of a page at *uri*, written in a file of *folder*, leads on the site."""
    path = Path(os.path.normpath(folder / link))
    if not path.is_relative_to(ROOT) or not path.exists():
        return link  # MkDocs reports it
    of_root = path.relative_to(ROOT).as_posix()
    if of_root in FROM_ROOT:
        place = FROM_ROOT[of_root]
    elif path.is_relative_to(DOCS) and path.is_file():
        place = path.relative_to(DOCS).as_posix()
    else:
        return f"{repository}/{'tree' if path.is_dir() else 'blob'}/main/{of_root}"
    return os.path.relpath(place, Path(uri).parent.as_posix())


def _table_of_names() -> str:
    """Return the names of the reference, by page, each with the first sentence of its docstring."""
    parts = []
    for page in sorted((DOCS / "reference").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        names = [name for name in _DIRECTIVE.findall(text) if "._" not in name]
        title = text.partition("\n")[0].removeprefix("# ")
        rows = [f"| [`{name}`][{name}] | {_summary(name)} |" for name in names]
        if rows:
            parts.append(
                "\n".join([f"## [{title}]({page.name})", "", "| name | |", "|---|---|", *rows])
            )
    return "\n\n".join(parts)


def _summary(name: str) -> str:
    """Return the first sentence of a docstring; nothing for a value, whose docstring is its type's."""
    module, _, last = name.rpartition(".")
    value = getattr(importlib.import_module(module), last, None)
    if not callable(value):
        return ""
    return (inspect.getdoc(value) or "").partition("\n")[0].replace("|", "\\|")


def _help_of_commands() -> str:
    """Return what `--help` prints, for each command."""
    os.environ["COLUMNS"] = "100"
    (commands,) = [
        action.choices for action in parser()._actions if isinstance(action.choices, dict)
    ]
    return "\n\n".join(
        f"## actors {name}\n\n```text\n{of_command.format_help()}```"
        for name, of_command in commands.items()
    )
