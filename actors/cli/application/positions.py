"""The lines on which the tables and keys of a TOML text are, which `tomllib` does not tell.

Rule: a scan of a text that is valid TOML, in one pass; what it does not find has no line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["Lines", "line_of", "lines_of"]

Lines: TypeAlias = dict[tuple[str | int, ...], int]
"""Lines by the path of what is there, from 1."""
_TOKEN: Final = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<skipped>[ \t\r]+|\#[^\n]*)
    | (?P<text>\"\"\"(?:\\.|[^\\])*?\"{3,5}|'''.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    | (?P<mark>\[\[|\]\]|[\[\]{}=,.])
    | (?P<bare>[^\s\[\]{}=,."'\#]+)
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def lines_of(text: str) -> Lines:
    """Return the line of each table and key of *text*."""
    return _Scan(list(_tokens(text))).lines


def line_of(lines: Lines, path: tuple[Any, ...]) -> int | None:
    """Return the line of what is at *path*, or of the innermost table around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _unquoted(key: str) -> str:
    """Return what a key in quotes says; of what is no key, nothing."""
    try:
        return next(iter(tomllib.loads(f"{key} = 0")))
    except tomllib.TOMLDecodeError:
        return ""


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind, found = str(match.lastgroup), match[0]
        if kind not in {"newline", "skipped"}:
            yield _Token(kind, found, line)
        elif kind == "newline":
            yield _Token("newline", "", line)
        line += found.count("\n")


class _Scan:
    """Walks over the tokens: headers, keys, and the keys of inline tables."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._table: tuple[str | int, ...] = ()
        self._counts: dict[tuple[str | int, ...], int] = {}
        self.lines: Lines = {}
        while self._at < len(tokens):
            self._statement()

    def _next(self) -> _Token:
        token = self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "", 0)
        self._at += 1
        return token

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "", 0)

    def _statement(self) -> None:
        token = self._peek()
        if token.kind == "newline":
            self._at += 1
        elif token.text in {"[", "[["}:
            self._header()
        else:
            self._key_and_value(self._table)

    def _header(self) -> None:
        opening = self._next()
        names, line = self._dotted()
        self._at += 1
        path: tuple[str | int, ...] = ()
        for name in names:
            path = (*path, name)
            if path in self._counts and (path != tuple(names) or opening.text == "["):
                path = (*path, self._counts[path])
        if opening.text == "[[":
            self._counts[path] = self._counts.get(path, -1) + 1
            path = (*path, self._counts[path])
        self._table = path
        self._note(path, line)

    def _note(self, path: tuple[str | int, ...], line: int) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _dotted(self) -> tuple[list[str], int]:
        """Read a key such as ``a."b c".d``; return its names and its line."""
        names: list[str] = []
        line = self._peek().line
        while self._peek().kind in {"bare", "text"}:
            token = self._next()
            names.append(_unquoted(token.text) if token.kind == "text" else token.text)
            if self._peek().text != ".":
                break
            self._at += 1
        return names, line

    def _key_and_value(self, table: tuple[str | int, ...]) -> None:
        names, line = self._dotted()
        if not names or self._next().text != "=":
            return
        path = (*table, *names)
        self._note(path, line)
        self._value(path)

    def _value(self, path: tuple[str | int, ...]) -> None:
        token = self._next()
        if token.text == "{":
            self._inline_table(path)
        elif token.text in {"[", "[["}:
            self._list(path, deeper=token.text == "[[")
        else:  # a number with a point in it, a date: what is left of the line, or of the list
            while self._peek().kind in {"bare", "mark"} and self._peek().text not in {*",}]", "]]"}:
                self._at += 1

    def _inline_table(self, path: tuple[str | int, ...]) -> None:
        while (token := self._peek()).kind != "end":
            if token.text == "}":
                self._at += 1
                return
            if token.text == "," or token.kind == "newline":
                self._at += 1
            else:
                before = self._at
                self._key_and_value(path)
                self._at = max(self._at, before + 1)

    def _list(self, path: tuple[str | int, ...], *, deeper: bool) -> None:
        """Pass over a list; ``[[`` and ``]]`` may stand for two brackets here."""
        number = 0
        if deeper:
            self._note((*path, number), self._peek().line)
            self._list((*path, number), deeper=False)
        while (token := self._peek()).kind != "end":
            if token.text == "]]":
                self._tokens[self._at] = token._replace(text="]")
                return
            if token.text == "]":
                self._at += 1
                return
            if token.text == "," or token.kind == "newline":
                number += token.text == ","
                self._at += 1
            else:
                self._note((*path, number), token.line)
                self._value((*path, number))
