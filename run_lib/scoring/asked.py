"""Which metrics are asked for, in which extractor's space: ``fid``, ``kid``, ``precision_recall@dinov2``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from run_lib.extractors.base import register_extractor
from run_lib.metrics.base import register_metric
from sde_lib.registry import snake_case, unknown_name

NAMED = {
    "fid": ("frechet", "inception"),
    "sfid": ("sfid", "inception"),
    "kid": ("kernel", "inception"),
    "is": ("inception_score", "inception"),
    "fd_dinov2": ("frechet", "dinov2"),
    "kd_dinov2": ("kernel", "dinov2"),
    "clip_mmd": ("mmd", "clip"),
}
"""Names that papers have for a metric in the space of one extractor, and no other."""
TITLES = {
    "fid": "FID",
    "sfid": "sFID",
    "kid": "KID",
    "is": "Inception Score",
    "fd_dinov2": "FD-DINOv2",
    "kd_dinov2": "KD-DINOv2",
    "clip_mmd": "CLIP-MMD",
}
PIXELS = "pixels"
"""The numbers that need no network and no choice: Fréchet distance, precision, recall and copies in pixel space."""


@dataclass(frozen=True)
class Asked:
    """One metric in the space of one extractor.

    Attributes:
        metric: its registered name.
        extractor: its registered name.
        named: the papers' name of the two together; empty: they have none.
    """

    metric: str
    extractor: str
    named: str = ""

    def __str__(self) -> str:
        return self.named or f"{self.metric}@{self.extractor}"


def asked(names: str | Sequence[str]) -> tuple[Asked, ...]:
    """Metrics as a configuration lists them, each once; ``pixels`` is none of them and is left out.

    Raises:
        ValueError: a name that nobody knows, a metric without an extractor.
    """
    found = dict.fromkeys(_one(name) for name in listed_names(names) if name != PIXELS)
    return tuple(found)


def listed_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names in a tuple, or in one string separated by commas or blanks; each in its normal spelling."""
    several = names.replace(",", " ").split() if isinstance(names, str) else names
    return tuple("@".join(snake_case(part) for part in name.split("@")) for name in several)


def _one(name: str) -> Asked:
    if name in NAMED:
        return Asked(*NAMED[name], named=name)
    metric, at, extractor = name.partition("@")
    if metric not in register_metric:
        known = [PIXELS, *NAMED, *(f"{one}@EXTRACTOR" for one in register_metric)]
        raise ValueError(unknown_name("metric", metric, known))
    if not at:
        raise ValueError(
            f"the metric {metric!r} is measured in the space of an extractor: write {metric}@EXTRACTOR, with one of "
            f"{', '.join(sorted(register_extractor))}."
        )
    if extractor not in register_extractor:
        raise ValueError(unknown_name("extractor", extractor, list(register_extractor)))
    named = next((one for one, pair in NAMED.items() if pair == (metric, extractor)), "")
    return Asked(metric, extractor, named)
