"""Source text in which our packages answer to their bare names, rewritten for one package that holds them all."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PACKAGE = "score_pc"


@dataclass(frozen=True)
class _Edit:
    """Text to put in place of a piece of the source; lines from 0, columns in bytes."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def rewrite(source: str, ours: Callable[[str], bool]) -> str:
    """The source with every name of a module of ours below ``score_pc``.

    These are ``import`` statements wherever they stand and strings that are the dotted name of a module as a
    whole, as in ``import_module("models.networks")`` and in tables of modules that are imported when needed.
    Nothing else changes, neither comments nor docstrings nor the lines' numbers.

    Args:
        source: text of a Python file.
        ours: whether there is a module of ours of a dotted name, such as ``models.networks``.

    Raises:
        ValueError: a name put together when the program runs, which cannot be rewritten.
    """
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    edits = sorted(_edits(ast.parse(source), lines, ours), key=lambda e: e.start, reverse=True)
    for edit in edits:
        (first, begin), (last, end) = edit.start, edit.end
        lines[first : last + 1] = [lines[first][:begin] + edit.text.encode() + lines[last][end:]]
    return b"".join(lines).decode()


def _edits(tree: ast.Module, lines: list[bytes], ours: Callable[[str], bool]) -> Iterator[_Edit]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom):
            if node.level == 0 and node.module is not None and ours(node.module.partition(".")[0]):
                keyword = re.compile(rb"from\s+").match(lines[node.lineno - 1], node.col_offset)
                assert keyword is not None
                place = (node.lineno - 1, keyword.end())
                yield _Edit(place, place, f"{PACKAGE}.")
        elif isinstance(node, ast.Import):
            if any(ours(alias.name.partition(".")[0]) for alias in node.names):
                yield _replace(node, "import " + ", ".join(_names(node, ours)))
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and "." in node.value and ours(node.value):
                yield _replace(node, repr(f"{PACKAGE}.{node.value}"))
        elif not isinstance(node, ast.JoinedStr):
            waiting += ast.iter_child_nodes(node)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                yield from _imported(node, ours)


def _names(node: ast.Import, ours: Callable[[str], bool]) -> Iterator[str]:
    """``likelihood.vlb`` binds ``likelihood``, and so must what stands in its place."""
    for alias in node.names:
        head = alias.name.partition(".")[0]
        if not ours(head):
            yield alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"
        elif alias.asname is not None:
            yield f"{PACKAGE}.{alias.name} as {alias.asname}"
        else:
            yield from ([f"{PACKAGE}.{alias.name}"] if "." in alias.name else [])
            yield f"{PACKAGE}.{head} as {head}"


def _imported(node: ast.Call, ours: Callable[[str], bool]) -> Iterator[_Edit]:
    """``import_module("models")``: a name without a dot is a module's only here."""
    name = node.args[0] if node.args else None
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        if "." not in name.value and ours(name.value):
            yield _replace(name, repr(f"{PACKAGE}.{name.value}"))
    elif isinstance(name, ast.JoinedStr) and ours(ast.unparse(name)[2:].partition(".")[0]):
        raise ValueError(
            f"line {node.lineno}: {ast.unparse(node)} cannot be rewritten, for its name is put together when the "
            "program runs; begin it with __name__ or write the names out."
        )


def _replace(node: ast.stmt | ast.expr, text: str) -> _Edit:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return _Edit((node.lineno - 1, node.col_offset), (node.end_lineno - 1, node.end_col_offset), text)
