"""Numbers of several runs beside one another: which differ beyond their intervals, and which is best."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from run_lib.evaluation.report import Number
from run_lib.metrics.repeats import paired_difference
from run_lib.pages.found import Evaluated

APART = "as of independent estimates"
LEVEL = 0.05
"""Probability that a number is marked as best of runs that are equal."""
SMALLER = frozenset(
    {
        "loss", "bpd", "nats", "vlb", "frechet", "fid", "fid-infinity", "sfid", "kid", "mmd", "fd-dinov2",
        "kd-dinov2", "clip-mmd", "fréchet distance", "fréchet distance at infinity", "spatial fréchet distance",
        "kernel distance", "sliced wasserstein distance",
    }
)  # fmt: skip
LARGER = frozenset(
    {"precision", "recall", "density", "coverage", "inception score", "accuracy", "labels recognised"}
)
"""Numbers that are the better the smaller or the larger they are, by what stands before a slash, a comma or an @."""
MEANS = frozenset({"loss", "bpd", "nats", "vlb", "accuracy"})
"""Numbers that are means over images; others, such as a Frechet distance, are biased by how many these are."""
HOW = ("metric", "weights", "resize", "range", "reference")
"""Entries of a protocol that say how samples are measured, and not what they are."""


@dataclass(frozen=True)
class Candidate:
    """A run that is compared.

    Attributes:
        name: on the page.
        evaluated: its evaluation.
        numbers: of its last checkpoint, by name.
    """

    name: str
    evaluated: Evaluated
    numbers: dict[str, Number]

    @classmethod
    def of(cls, name: str, evaluated: Evaluated) -> Candidate:
        """The run's last checkpoint, under the configuration that was evaluated last."""
        steps = list(evaluated.groups().values())[-1]
        return cls(name, evaluated, {number.name: number for number in steps[max(steps)]})


@dataclass(frozen=True)
class Difference:
    """A number of one run less that of another.

    Attributes:
        value: the difference.
        stderr: its standard error; None: one of the two has none.
        how: it is found, in words; what is paired has less noise, as what both share cancels.
        free: degrees of freedom of the error; infinite: it is known well.
    """

    value: float
    stderr: float | None
    how: str = APART
    free: float = math.inf

    @property
    def paired(self) -> bool:
        return self.how != APART

    def half(self, comparisons: int) -> float | None:
        """Half of the interval that holds together with so many others at ``1 - LEVEL`` (Bonferroni, Student's t)."""
        import scipy.special  # takes a while to import

        if self.stderr is None:
            return None
        level = 1 - LEVEL / (2 * comparisons)
        many = math.isinf(self.free)
        return (
            float(scipy.special.ndtri(level) if many else scipy.special.stdtrit(self.free, level))
            * self.stderr
        )

    def beyond(self, comparisons: int) -> bool:
        """Whether zero lies outside that interval."""
        half = self.half(comparisons)
        return half is not None and abs(self.value) > half


def direction(name: str) -> int:
    """1: larger is better; -1: smaller is; 0: neither is known."""
    return 1 if _kind(name) in LARGER else -1 if _kind(name) in SMALLER else 0


def _kind(name: str) -> str:
    return re.split("[/@,]", name.lower())[0]


def comparable(name: str, runs: Sequence[Candidate]) -> bool:
    """Whether a number of the runs is measured in one way: unit, extractor, reference, and, where these bias it, as
    many images."""
    held = [run.numbers[name] for run in runs if name in run.numbers]
    counts = {0} if _kind(name) in MEANS else {number.count for number in held}
    protocols = [getattr(number, "protocol", {}) for number in held]
    measured = {tuple(str(protocol.get(key, "")) for key in HOW) for protocol in protocols}
    return len(counts) == len(measured) == len({number.unit for number in held}) == 1


def difference(name: str, one: Candidate, other: Candidate) -> Difference:
    """The number of one run less the other's."""
    a, b = one.numbers[name], other.numbers[name]
    if _same_data(one, other, name):
        ours, theirs = by_image(one, name), by_image(other, name)
        if ours is not None and theirs is not None and np.array_equal(ours.images, theirs.images):
            apart = ours.values - theirs.values
            apart = apart[np.isfinite(apart)]
            if len(apart) > 1:
                stderr = float(apart.std(ddof=1) / math.sqrt(len(apart)))
                return Difference(float(apart.mean()), stderr, "paired, image by image")
    if _same_seeds(a, b):
        sets = paired_difference(a.sets, b.sets)
        how = f"paired, set by set, over {len(a.sets)} sets of the same seeds"
        return Difference(sets.mean, sets.stderr, how, len(a.sets) - 1)
    together = None if a.half is None or b.half is None else math.hypot(a.stderr or 0.0, b.stderr or 0.0)
    return Difference(a.value - b.value, together)


def _same_seeds(a: Number, b: Number) -> bool:
    """Whether two numbers are means over sets of samples of the same seeds, set by set."""
    seeds = {(n.protocol.get("seed of the samples"), len(n.sets), n.count) for n in (a, b)}
    return len(a.sets) > 1 and len(seeds) == 1


def _same_data(one: Candidate, other: Candidate, name: str) -> bool:
    """Whether a number of both is of data of one fingerprint, of one seed and of as many images."""
    a, b = one.numbers[name], other.numbers[name]
    made_from = (run.evaluated.report.made_from(run.numbers[name].fingerprint) for run in (one, other))
    ours, theirs = (
        {part: of for part, of in parts.items() if part.startswith("data")} for parts in made_from
    )
    return bool(ours) and ours == theirs and (a.seed, a.count) == (b.seed, b.count)


@dataclass(frozen=True)
class ByImage:
    """Values (N,) of which a number is the mean, and which images (N,) they are of, in rising order."""

    images: np.ndarray
    values: np.ndarray


def by_image(run: Candidate, name: str) -> ByImage | None:
    """The values of which a number is the mean; None: they are not kept one by one."""
    number = run.numbers[name]
    family, _, split = name.partition("/")
    if family == "loss":
        parts = run.evaluated.folder / "parts" / f"{number.step}-{number.fingerprint}"
        if not (files := sorted(parts.glob("loss_*.npz"))):
            return None
        values = np.concatenate([_array(file, "loss") for file in files])
        return ByImage(np.arange(len(values)), values)
    nats, file = (
        run.numbers.get(f"nats/{split}"),
        run.evaluated.folder / f"likelihood_{split}_{number.step}.npz",
    )
    if family not in ("nats", "bpd") or nats is None or not file.is_file():
        return None
    logp, images = _array(file, "logp"), _array(file, "index")
    if len(logp) != 1 or not number.stderr or not nats.stderr:  # of several draws, which may be no plain mean
        return None
    order, finite = np.argsort(images), np.isfinite(logp[0])
    scale = number.stderr / nats.stderr  # bits/dim are nats on another scale
    return ByImage(images[order], (number.value - scale * (logp[0] - logp[0][finite].mean()))[order])


def _array(path: Path, name: str) -> np.ndarray:
    with np.load(path) as held:
        found: np.ndarray = held[name].astype(np.float64)
    return found


def best(name: str, runs: Sequence[Candidate]) -> Candidate | None:
    """The run whose number is better than every other's, beyond the interval of the difference; None: none is.

    All pairs are held to one level together: the best was chosen by its number.
    """
    sign = direction(name)
    have = [run for run in runs if name in run.numbers and math.isfinite(run.numbers[name].value)]
    if (
        not sign
        or len(have) < 2
        or not comparable(name, have)
        or any(run.numbers[name].is_reference for run in have)
    ):
        return None
    first = max(have, key=lambda run: sign * run.numbers[name].value)
    pairs = len(list(itertools.combinations(have, 2)))
    rest = [run for run in have if run is not first]
    return first if all(difference(name, first, run).beyond(pairs) for run in rest) else None
