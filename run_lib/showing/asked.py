"""What a page asks for: numbers in the address, each of which is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from run_lib.config.showing import MOST_STEPS, ShowPlan

SEEDS = 2**40


@dataclass(frozen=True)
class Asked:
    """A picture.

    Attributes:
        seed: of the samples.
        steps: of the sampler; None: those of the configuration.
        snr: of the corrector; None: that of the configuration.
    """

    seed: int
    steps: int | None = None
    snr: float | None = None


def asked(query: Mapping[str, str], plan: ShowPlan) -> Asked:
    """Read it from the words of an address.

    Raises:
        ValueError: a word that nobody knows, one that this sampler has not, or a value out of range.
    """
    allowed = [
        "seed",
        *(["steps"] if plan.steps is not None else []),
        *(["snr"] if plan.snr is not None else []),
    ]
    for word in query:
        if word not in allowed:
            raise ValueError(f"{word!r} cannot be asked for here; allowed: {', '.join(allowed)}.")
    return Asked(
        _whole("seed", query.get("seed", str(plan.sampling.seed)), 0, SEEDS - 1),
        _whole("steps", query["steps"], 1, MOST_STEPS) if "steps" in query else None,
        _positive("snr", query["snr"]) if "snr" in query else None,
    )


def _whole(word: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and least <= int(text) <= most):
        raise ValueError(f"{word} is a whole number from {least} to {most}, got {text[:40]!r}.")
    return int(text)


def _positive(word: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{word} is a number above 0, got {text[:40]!r}.")
    return value
