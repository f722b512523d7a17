"""Sections of RESULTS.md: each benchmark rewrites its own and leaves the others."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch

from run_lib.computing.processor import described as processor

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


def machine(*packages: str) -> str:
    """What figures depend on: the date, the processor with the instructions that count, its threads, the versions."""
    described = [f"{datetime.date.today()}", processor(), f"{torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        described.append(torch.cuda.get_device_name())
    described.append(f"Python {platform.python_version()}")
    return ", ".join([*described, *(f"{name} {version(name)}" for name in ("torch", *packages))]) + "."


def interleaved(
    runs: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of each run in each round; every round runs all of them, so that a slower machine is slower for all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begun = _now(device)
            run()
            seconds[name].append(_now(device) - begun)
    return seconds


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """The median over rounds of a / b."""
    return median(x / y for x, y in zip(a, b, strict=True))
