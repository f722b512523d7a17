"""The facts and the diagnosis as text."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterator

from run_lib.doctor.diagnosis import GIB, diagnose
from run_lib.doctor.facts import Facts

WIDTH = 110


def report(facts: Facts) -> str:
    """A line for each fact, then what is wrong."""
    rows = list(_rows(facts))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    wrong = [
        textwrap.fill(said, WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False)
        for said in diagnose(facts)
    ]
    heading = "What is wrong:" if wrong else "Nothing is wrong with these."
    return "\n".join([*lines, "", heading, *wrong])


def _rows(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "system", f"{platform.platform()}, Python {platform.python_version()}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    load = "" if facts.load is None else f", {facts.load:.1f} wanted by work in the last minute"
    yield "processor", f"{facts.processor}; {facts.cores:g} cores to use{load}; {facts.threads} threads"
    for index, card in enumerate(facts.graphics):
        memory = f"{card.free / GIB:.1f} of {card.total / GIB:.1f} GiB free"
        yield f"GPU {index}", f"{card.name}, {card.capability}, {memory}"
    if not facts.graphics:
        yield "GPU", "none"
    if facts.cuda or facts.driver:
        yield "CUDA", f"torch is made for {facts.cuda or 'none'}; driver {facts.driver or 'none'}"
    yield "memory", f"{facts.memory / GIB:.1f} of {facts.total_memory / GIB:.1f} GiB free"
    shared = "" if facts.shared_memory is None else f"; /dev/shm {facts.shared_memory / GIB:.1f} GiB"
    yield "disk", f"{facts.disk / GIB:.1f} GiB free at {facts.folder}{shared}"
    yield "config.compile", facts.no_compiler or "possible"
