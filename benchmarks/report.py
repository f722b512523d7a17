"""Sections of RESULTS.md: each benchmark rewrites its own and leaves the others."""

from __future__ import annotations

from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def write_section(name: str, lines: list[str]) -> None:
    """Replace the section of this name, or append it."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    section = "\n".join([begin, *lines, end])
    if begin in text:
        text = text[: text.index(begin)] + section + text[text.index(end) + len(end) :]
    else:
        text = text.rstrip("\n") + "\n\n" + section + "\n"
    RESULTS.write_text(text)


def described(doc: str | None) -> list[str]:
    """A module's docstring without its title and its commands, for the section's head."""
    return [*(doc or "").split("\n\n", 2)[2].strip().split("\n"), ""]
