"""What a docstring says of each parameter (Google style)."""

from __future__ import annotations

import inspect
import re
from typing import Any

_SECTION = re.compile(r"(Args|Attributes):")
_ENTRY = re.compile(r"(\w+(?:, \w+)*)(?: \([^)]*\))?:(?: +(.*))?$")


def documented(component: Any) -> dict[str, str]:
    """The parameters that a component's docstring describes, each with its text joined to one line.

    A class is described by its own docstring and, where that is silent, by its constructor's and by those of the
    classes from which it inherits. ``low, high: the model's range.`` describes both.
    """
    sources = [component]
    if inspect.isclass(component):
        sources = [source for cls in component.__mro__ for source in (cls, cls.__dict__.get("__init__"))]
    found: dict[str, str] = {}
    for source in sources:
        # Not inspect.getdoc, which looks into base classes itself.
        text = vars(source).get("__doc__") if inspect.isclass(source) else getattr(source, "__doc__", None)
        for name, said in _entries(inspect.cleandoc(text or "")):
            found.setdefault(name, said)
    return found


def _entries(text: str) -> list[tuple[str, str]]:
    entries: list[tuple[list[str], list[str]]] = []
    indent: int | None = None
    inside = False
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if _SECTION.fullmatch(line):
            inside, indent = True, None
        elif line and depth == 0:
            inside = False
        elif inside and line:
            indent = depth if indent is None else indent
            entry = _ENTRY.fullmatch(line.strip()) if depth == indent else None
            if entry:
                entries.append((entry.group(1).split(", "), [entry.group(2) or ""]))
            elif entries:
                entries[-1][1].append(line.strip())
    return [(name, " ".join(filter(None, said))) for names, said in entries for name in names]
