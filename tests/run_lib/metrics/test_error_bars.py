"""What the metrics' standard errors cover: a value and twice its error, drawn many times from known laws.

The bar is over sets of as many samples with the reference held fixed, so the truth is the mean of all draws. The bounds
are the binomial's of the number of draws, but for one in a thousand; the reference stays, the samples are drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from run_lib.metrics.base import InMemory, Measured, Output, SetMetric
from run_lib.metrics.density_coverage import DensityCoverage
from run_lib.metrics.frechet import Frechet
from run_lib.metrics.inception_score import InceptionScore
from run_lib.metrics.kernel import GaussianDiscrepancy, KernelDistance
from run_lib.metrics.neighbours import Neighbours
from run_lib.metrics.precision_recall import ImprovedPrecisionRecall
from run_lib.metrics.sliced_wasserstein import SlicedWasserstein
from tests.run_lib.test_coverage import NORMAL, within

REFERENCE = np.random.default_rng(0).normal(size=(250, 3))
Draw = Callable[[np.random.Generator], np.ndarray]


def wide(count: int) -> Draw:
    return lambda rng: 0.2 + 1.2 * rng.normal(size=(count, 3))


def same(count: int) -> Draw:
    return lambda rng: rng.normal(size=(count, 3))


def skewed(count: int) -> Draw:
    return lambda rng: rng.exponential(1.3, size=(count, 3)) - 1


def drawn(
    metric: SetMetric, draw: Draw, repeats: int, output: Output = "features", fixed: bool = False
) -> dict[str, list[Measured]]:
    reference = InMemory({output: REFERENCE})
    found: dict[str, list[Measured]] = {}
    for seed in range(repeats):
        samples = InMemory({output: draw(np.random.default_rng(seed))})
        for one in metric.measure(samples, reference, 0 if fixed else seed):
            found.setdefault(one.name, []).append(one)
    return found


def covers(found: list[Measured], least: float, most: float = NORMAL, truth: float | None = None) -> bool:
    values, errors = (
        np.array([one.value for one in found]),
        np.array([one.stderr for one in found], dtype=float),
    )
    centre = values.mean() if truth is None else truth
    return within([bool(hit) for hit in np.abs(values - centre) <= 2 * errors], least, most)


@pytest.mark.parametrize("draw", [wide(150), skewed(150)])
def test_frechet_distances_and_their_limits(draw: Draw) -> None:
    """The limit's is of the truth, which a set of a million has."""
    found = drawn(Frechet(), draw, 300)
    (truth, *_) = drawn(
        Frechet(extrapolate=False), lambda rng: np.concatenate([draw(rng) for _ in range(2000)]), 1
    )[""]
    assert covers(found[""], 0.93)
    assert covers(found["infinity"], 0.93, truth=truth.value)


def test_frechet_distances_of_the_references_own_law_are_known_better_than_told() -> None:
    """To first order nothing changes there; the bar has twice the variance of the second."""
    found = drawn(Frechet(extrapolate=False), same(150), 300)[""]
    assert covers(found, 0.93, 1.0)
    errors = np.mean([one.stderr for one in found if one.stderr is not None])
    assert errors < 2 * np.std([one.value for one in found])


@pytest.mark.parametrize("shift", [0.4, 0.0])
@pytest.mark.parametrize(
    "metric", [KernelDistance(subset_size=0), KernelDistance(20, 20), GaussianDiscrepancy(bandwidth=2)]
)
def test_kernel_distances(metric: SetMetric, shift: float) -> None:
    """Near zero too, where pairs and not single samples decide. Of a cube the errors of small sets vary: 0.9 at least,
    as of a variance of 20 values."""
    found = drawn(metric, lambda rng: shift + rng.normal(size=(120, 3)), 100)
    assert covers(found[""], 0.9, 0.985)


def test_inception_scores() -> None:
    assert covers(
        drawn(InceptionScore(4), lambda rng: 2 * rng.normal(size=(200, 5)), 300, "logits")[""], 0.93
    )


@pytest.mark.parametrize("metric", [ImprovedPrecisionRecall(), DensityCoverage()])
@pytest.mark.parametrize("width", [1.2, 0.7])
@pytest.mark.slow
def test_what_is_counted_of_near_neighbours(metric: SetMetric, width: float) -> None:
    """Precision by Agresti and Coull, density a mean, recall and coverage by halves. Of narrow samples each ball holds
    several images of the reference, and recall varies by twice what independent images would."""
    for name, found in drawn(metric, lambda rng: width * rng.normal(size=(150, 3)), 50).items():
        assert covers(found, 0.92, 1.0 if name == "precision" else 0.98), name
        if name != "precision":
            # 50 draws tell their deviation to 10 %.
            errors = np.array([one.stderr for one in found], dtype=float)
            spread = np.std([one.value for one in found])
            assert np.sqrt((errors**2).mean()) == pytest.approx(spread, rel=0.3), name


def test_distances_to_neighbours() -> None:
    found = drawn(Neighbours(quantile=0.1), wide(100), 200)
    assert covers(found["distance"], 0.93)
    assert covers(found["nearer"], 0.93)
    assert covers(found["copies"], 0.92, 1.0)


@pytest.mark.parametrize(("draw", "most"), [(wide(150), NORMAL), (skewed(150), NORMAL), (same(150), 1.0)])
def test_sliced_distances(draw: Draw, most: float) -> None:
    """Of a set of the reference's own law the bar is too wide, as of the Fréchet distance."""
    assert covers(drawn(SlicedWasserstein(20), draw, 300, fixed=True)[""], 0.93, most)
