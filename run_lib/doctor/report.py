"""The facts and the diagnosis as text."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterator

from run_lib.doctor.diagnosis import diagnose
from run_lib.doctor.facts import Facts
from sde_lib.words import amount

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
        memory = f"{amount(card.free)} of {amount(card.total)} free"
        yield f"GPU {index}", f"{card.name}, {card.capability}, {memory}"
    if not facts.graphics:
        yield "GPU", "none"
    if facts.cuda or facts.driver:
        yield "CUDA", f"torch is made for {facts.cuda or 'none'}; driver {facts.driver or 'none'}"
    yield "memory", f"{amount(facts.memory)} of {amount(facts.total_memory)} free"
    shared = "" if facts.shared_memory is None else f"; /dev/shm {amount(facts.shared_memory)}"
    yield "disk", f"{amount(facts.disk)} free at {facts.folder}{shared}"
    yield "config.compile", facts.no_compiler or "possible"
