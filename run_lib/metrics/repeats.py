"""Numbers of repeated sets of samples: of one sampler, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from run_lib.metrics.base import Measured
from run_lib.statistics import mean, t_interval
from sde_lib.words import digits

CONFIDENCE = 0.95
PAPERS = 3
"""Sets of which papers report the least FID (Karras et al. 2019 and after)."""
RARE = 0.01
"""Probability with which sets of a sampler whose errors are right are said to differ by more than these."""


@dataclass(frozen=True)
class OverSets:
    """One number of several sets of samples of the same sampler.

    Attributes:
        values: of each set.
        mean: of the sets: an estimate of the expected value of a set of as many samples.
        stderr: of the mean, by how the sets differ.
        low, high: Student's 95 % interval of that expectation.
        least: the least of the first three sets, as papers report it, whose expectation lies below that of a set; None:
            there are fewer.
        spread: standard deviation of the value of a set.
        within: what the standard errors of single sets say that it is, their root mean square; None: some have none.
    """

    values: tuple[float, ...]
    mean: float
    stderr: float
    low: float
    high: float
    least: float | None
    spread: float
    within: float | None

    @property
    def between(self) -> float | None:
        """The part of the standard deviation that is between sets alone: sqrt(spread^2 - within^2), zero where that is
        negative; None where ``within`` is."""
        return None if self.within is None else math.sqrt(max(self.spread**2 - self.within**2, 0.0))

    @property
    def exceeds(self) -> bool:
        """Whether sets differ by more than their own errors say, which is so of one in a hundred where these are right:
        (R - 1) spread^2 / within^2 is distributed as chi^2_{R-1}."""
        import scipy.stats

        if not self.within:
            return False
        free = len(self.values) - 1
        return bool(scipy.stats.chi2.sf(free * (self.spread / self.within) ** 2, free) < RARE)

    @property
    def note(self) -> str:
        """How much sets differ, in words."""
        said = f"a set's standard deviation is {digits(self.spread, 2)} over {len(self.values)} sets"
        if self.within is not None:
            said += f", {digits(self.within, 2)} by the errors of single sets"
        return said + (", which are too small" if self.exceeds else "")


def over_sets(numbers: Sequence[Measured]) -> OverSets:
    """One number of at least two sets of as many samples each, drawn with different seeds.

    Raises:
        ValueError: a number is not finite.
    """
    values = tuple(number.value for number in numbers)
    assert len(values) > 1, "one set says nothing of how sets differ"
    if not np.isfinite(values).all():
        raise ValueError(f"{numbers[0].name or 'the number'} of a set of samples is not finite: {values}.")
    interval = t_interval(values, CONFIDENCE)
    errors = [number.stderr for number in numbers if number.stderr is not None]
    return OverSets(
        values=values,
        mean=interval.mean,
        stderr=mean(values).stderr,
        low=interval.mean - interval.half,
        high=interval.mean + interval.half,
        least=min(values[:PAPERS]) if len(values) >= PAPERS else None,
        spread=float(np.std(values, ddof=1)),
        within=math.sqrt(np.mean(np.square(errors))) if len(errors) == len(numbers) else None,
    )


@dataclass(frozen=True)
class Difference:
    """How much larger a number is of one sampler than of another.

    Attributes:
        mean: estimate of the difference of their expectations.
        stderr: of it.
        low, high: its 95 % interval.
        how: it was made, in words.
    """

    mean: float
    stderr: float
    low: float
    high: float
    how: str

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0 <= self.high


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Of two samplers or checkpoints, set by set, set r of both with the same seeds: what these share cancels.

    Student's interval of the differences, with R - 1 degrees of freedom.

    Args:
        a, b: the numbers of R sets each, at least two.
    """
    assert len(a) == len(b) > 1, "a difference for each of several sets"
    values = np.subtract(a, b)
    interval = t_interval(values, CONFIDENCE)
    return Difference(
        interval.mean,
        mean(values).stderr,
        interval.mean - interval.half,
        interval.mean + interval.half,
        f"paired over {len(a)} sets of the same seeds",
    )


def unpaired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Of two samplers or checkpoints whose sets have seeds of their own, as many of each or not.

    Welch's interval (1947): t of the Satterthwaite degrees of freedom, without equal variances.

    Args:
        a, b: the numbers of at least two sets each.
    """
    import scipy.stats

    assert len(a) > 1 and len(b) > 1, "several sets of each"
    estimates = mean(a), mean(b)
    offset, (u, v) = estimates[0].value - estimates[1].value, (one.stderr**2 for one in estimates)
    stderr = math.sqrt(u + v)
    free = (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1)) if stderr else 1.0
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, free)) * stderr
    return Difference(
        offset,
        stderr,
        offset - half,
        offset + half,
        f"Welch's, of {len(a)} and {len(b)} sets of their own seeds",
    )


def difference_of_single_sets(a: Measured, b: Measured) -> Difference | None:
    """Of one set of each, by their own standard errors, as if they were independent; None where one has none.

    Where both have the same seeds the interval is too wide rather than too narrow, as what they share cancels in truth.
    """
    import scipy.stats

    if a.stderr is None or b.stderr is None:
        return None
    stderr = math.hypot(a.stderr, b.stderr)
    offset, half = a.value - b.value, float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2)) * stderr
    return Difference(offset, stderr, offset - half, offset + half, "of one set each, by their own errors")
