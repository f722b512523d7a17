"""HTML as values: what is not markup is escaped, so that no name of a file or a class can become any."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_VOID = frozenset({"br", "img", "input", "meta"})
_NO_CHARACTER = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Code points that a page of HTML may not have; a file's name may."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """A value as text within HTML; markup as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_NO_CHARACTER.sub("\ufffd", str(value)), quote=True))


def joined(*parts: object) -> Markup:
    """Parts one after another; None is no part."""
    return Markup("".join(escaped(part) for part in parts if part is not None))


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element.

    Args:
        name: of the element.
        content: text, which is escaped, and markup; None is left out.
        attributes: by name, with ``_`` for ``-`` and an ending ``_`` where Python has the word for itself; True stands
            for an attribute without value; None and False for none.
    """
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(*content)}</{name}>")


def link(text: object, href: str) -> Markup:
    return tag("a", text, href=href)


def table(
    head: Sequence[object],
    rows: Sequence[Sequence[object]],
    label: str,
    *,
    numeric: frozenset[int] = frozenset(),
) -> Markup:
    """A table that scrolls by itself where the window is narrow; the first cell of a row is its heading.

    Args:
        head: headings of the columns.
        rows: cells; a cell that is a heading comes first.
        label: what the table is, for those who hear it.
        numeric: columns whose cells stand to the right.
    """

    def cell(kind: str, k: int, content: object) -> Markup:
        scope = {"td": None, "th": "col"}.get(kind, "row")
        return tag(
            "td" if kind == "td" else "th", content, scope=scope, class_="number" if k in numeric else None
        )

    lines = [
        tag("tr", *(cell("td" if k else "row", k, content) for k, content in enumerate(row))) for row in rows
    ]
    heads = tag("thead", tag("tr", *(cell("th", k, content) for k, content in enumerate(head))))
    return scrolling(tag("table", heads, tag("tbody", *lines)), label)


def scrolling(content: Markup, label: str) -> Markup:
    """A part that may be wider than the window, which keyboards can scroll too."""
    return tag("div", content, class_="scroll", role="region", aria_label=label, tabindex="0")


def facts(rows: list[tuple[str, object]]) -> Markup:
    """Names and values."""
    return tag("dl", *(joined(tag("dt", name), tag("dd", value)) for name, value in rows))


def details(summary: object, *content: object) -> Markup:
    """What is shown on request."""
    return tag("details", tag("summary", summary), *content)
