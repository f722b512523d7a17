"""README and the pages of docs/: their blocks, and the commands of the program that they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [
        *(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
}
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.M | re.S)


def blocks(page: str, *kinds: str, section: str = "") -> list[str]:
    """The fenced blocks of some kinds on a page, or under one heading of it."""
    text = PAGES[page].split(f"\n## {section}\n")[1].split("\n## ")[0] if section else PAGES[page]
    return [found["body"] for found in FENCE.finditer(text) if found["kind"] in kinds]


def prose(page: str) -> str:
    return FENCE.sub("", PAGES[page])


def commands(page: str, section: str = "") -> Iterator[list[str]]:
    """The arguments of the program in every command of a page, or of the part under one heading of it: comments left
    out, variables put in."""
    for block in blocks(page, "text", "bash", "sh", section=section):
        variables: dict[str, str] = {}
        for line in block.replace("\\\n", " ").splitlines():
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            if defined := re.match(r'([A-Z]+)="(.*)"$', line):
                variables[defined[1]] = defined[2]
            if found := re.search(
                r"^(?:pip install|python|srun|torchrun)\b.*?\bmain\.py (.*)$", line.strip()
            ):
                yield shlex.split(found[1], comments=True)


def files(page: str) -> dict[str, str]:
    """Python files that a page has the reader write, by their names: blocks that begin with ``# name.py``."""
    named = ((re.match(r"# (\w+\.py)\n", block), block) for block in blocks(page, "python"))
    return {found[1]: block for found, block in named if found}


def flag(arguments: list[str], name: str) -> str | None:
    return arguments[arguments.index(name) + 1] if name in arguments else None
