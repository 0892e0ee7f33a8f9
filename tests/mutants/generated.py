"""Makes mutants of a source file: other operators, other constants, negated conditions, calls left out.

Rule: whatever cannot change what a program does is left alone: annotations, docstrings, texts of errors.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Final

from tests.mutants.mutant import ROOT, Mutant

__all__ = ["mutants_of"]

_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "+",
    ast.Div: "*",
    ast.FloorDiv: "+",
    ast.Mod: "+",
    ast.Pow: "*",
    ast.LShift: ">>",
    ast.RShift: "<<",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
_SILENT: Final = (ast.Raise, ast.Assert, ast.AnnAssign, ast.Import, ast.ImportFrom)
"""Statements of which only what the mutants themselves look into is changed."""

Edit = tuple[ast.AST, str]
"""A part of the tree, and the text that stands there instead."""


class _Source:
    """The text of a file, and where in it the parts of its tree are."""

    def __init__(self, text: str) -> None:
        self.bytes = text.encode()
        self._starts = [0]
        for line in self.bytes.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = self._starts[node.lineno - 1] + node.col_offset
        return begin, self._starts[node.end_lineno - 1] + node.end_col_offset

    def place(self, node: ast.AST) -> int:
        """Return the character at which *node* begins."""
        return len(self.bytes[: self._span(node)[0]].decode())

    def text(self, node: ast.AST) -> str:
        """Return the text of *node*."""
        begin, end = self._span(node)
        return self.bytes[begin:end].decode()


def mutants_of(file: str, tests: tuple[str, ...]) -> list[Mutant]:
    """Return every mutant of *file*, each to be caught by *tests*."""
    text = (ROOT / file).read_text(encoding="utf-8")
    source = _Source(text)
    return [
        Mutant(f"{file}, {where}", file, source.text(node), new, tests, source.place(node))
        for where, node, new in _edits(ast.parse(text), source, "")
    ]


def _edits(node: ast.AST, source: _Source, where: str) -> Iterator[tuple[str, ast.AST, str]]:
    if _is_for_checkers(node):
        return
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        where = f"{where}.{node.name}".lstrip(".")
    for changed, new in _of(node, source.text):
        yield where or "module", changed, new
    for child in _children(node):
        yield from _edits(child, source, where)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Return the parts of *node* in which a change can be seen."""
    if isinstance(node, _SILENT) or (isinstance(node, ast.Expr) and _is_text(node.value)):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield node.value
        return
    if isinstance(node, ast.JoinedStr):
        return
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "bases", "type_params"}:
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield part


def _is_for_checkers(node: ast.AST) -> bool:
    """Whether it is what only type checkers read."""
    match node:
        case ast.If(ast.Name("TYPE_CHECKING")):
            return True
        case _:
            return False


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _of(node: ast.AST, text: Callable[[ast.AST], str]) -> Iterator[Edit]:
    """Return the changes to *node* itself."""
    match node:
        case ast.Compare(left, [op], [right]):
            sides = [
                f"({text(side)})" if isinstance(side, ast.NamedExpr) else text(side)
                for side in (left, right)
            ]
            yield node, f"({sides[0]} {_COMPARISONS[type(op)]} {sides[1]})"
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            yield node, f"({text(left)} {_OPERATORS[type(op)]} {text(right)})"
        case ast.BoolOp(op, values):
            other = " and " if isinstance(op, ast.Or) else " or "
            yield node, "(" + other.join(f"({text(value)})" for value in values) + ")"
        case ast.UnaryOp(ast.Not(), operand):
            yield node, f"bool({text(operand)})"
        case ast.Constant(bool() as value):
            yield node, str(not value)
        case ast.Constant(int() | float() as value):
            yield node, f"({value!r} + 1)"
        case _:
            yield from _of_statements(node, text)


def _of_statements(node: ast.AST, text: Callable[[ast.AST], str]) -> Iterator[Edit]:
    match node:
        case ast.If(test) | ast.While(test) | ast.IfExp(test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                yield test, f"(not ({text(test)}))"
        case ast.AugAssign(_, op, value) if type(op) in _OPERATORS:
            yield value, "0"
        case ast.Expr(ast.Call() | ast.Await()):
            yield node, "pass"
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield value, "None"
        case ast.Break():
            yield node, "pass"
        case ast.Continue():
            yield node, "pass"
        case _:
            return
