"""Kernel distances against closed forms of Gaussians, without bias, whatever the blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from run_lib.metrics import discrepancy as blocks
from run_lib.metrics.base import InMemory
from run_lib.metrics.discrepancy import discrepancy
from run_lib.metrics.kernel import GaussianDiscrepancy, KernelDistance, polynomial


def view(rows: np.ndarray) -> InMemory:
    return InMemory({"features": rows})


def cubic(mean: float, other: float) -> float:
    """E (x y + 1)^3 of independent x ~ N(mean, 1) and y ~ N(other, 1), from their first three moments."""
    a, b = ([1, m, m**2 + 1, m**3 + 3 * m] for m in (mean, other))
    return sum(math.comb(3, p) * a[p] * b[p] for p in range(4))


def gaussian(offset: float, bandwidth: float) -> float:
    """E exp(-(x - y)^2 / (2 h^2)) of x - y ~ N(offset, 2): h / sqrt(h^2 + 2) exp(-offset^2 / (2 (h^2 + 2)))."""
    width = bandwidth**2 + 2
    return bandwidth / math.sqrt(width) * math.exp(-(offset**2) / (2 * width))


@pytest.mark.parametrize(("size", "subsets"), [(0, 1), (10, 5)])
def test_kid_has_no_bias(size: int, subsets: int) -> None:
    """The mean of 200 pairs of sets within four of its errors of the population's value, by moments of Gaussians."""
    rng, metric = np.random.default_rng(0), KernelDistance(subsets=subsets, subset_size=size)
    for shift in (0.0, 0.5):
        values = np.array(
            [
                metric.measure(view(rng.normal(shift, 1, (20, 1))), view(rng.normal(0, 1, (30, 1))), seed)[
                    0
                ].value
                for seed in range(200)
            ]
        )
        truth = cubic(shift, shift) + cubic(0, 0) - 2 * cubic(shift, 0)
        assert values.mean() == pytest.approx(truth, abs=4 * values.std() / math.sqrt(len(values)))


def test_cmmd_has_the_bias_of_pairs_of_an_image_and_itself() -> None:
    """Those of k = 1: (1 - E k(x, x')) / N of either set, beside the distance of the populations."""
    rng, metric, h = np.random.default_rng(1), GaussianDiscrepancy(bandwidth=1.5, scale=10), 1.5
    values = np.array(
        [
            metric.measure(view(rng.normal(0.4, 1, (20, 1))), view(rng.normal(0, 1, (30, 1))), 0)[0].value
            for _ in range(500)
        ]
    )
    truth = 2 * gaussian(0, h) - 2 * gaussian(0.4, h) + (1 - gaussian(0, h)) * (1 / 20 + 1 / 30)
    assert values.mean() == pytest.approx(10 * truth, abs=4 * values.std() / math.sqrt(len(values)))
    found = metric.measure(view(rng.normal(0, 1, (20, 1))), view(rng.normal(0, 1, (30, 1))), 0)[0]
    assert "for want of images" in found.note
    assert GaussianDiscrepancy().bandwidth == 10
    assert GaussianDiscrepancy().scale == 1000


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of it is what whole matrices give: the definitions, with sums over triples and pairs."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(25, 3)) + 0.3
    whole = discrepancy(x, y, polynomial)
    monkeypatch.setattr(blocks, "ROWS", 7)
    parts = discrepancy(x, y, polynomial)
    for name in ("unbiased", "biased", "linear", "pairwise"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-9)
    k, cross, own = ((a @ b.T / 3 + 1) ** 3 for a, b in ((x, x), (x, y), (y, y)))
    assert whole.biased == pytest.approx(k.mean() + own.mean() - 2 * cross.mean())
    off = k - np.diag(np.diag(k))
    # The kernel of the U-statistic with the reference held fixed; its projection's square over different triples.
    h = off - cross.mean(1)[:, None] - cross.mean(1)
    h -= np.diag(np.diag(h))
    n = len(x)
    triples = ((h.sum(1) ** 2).sum() - (h**2).sum()) / (n * (n - 1) * (n - 2))
    both = (h.sum() ** 2 - 4 * (h.sum(1) ** 2).sum() + 2 * (h**2).sum()) / (n * (n - 1) * (n - 2) * (n - 3))
    assert whole.linear == pytest.approx(triples - both, rel=1e-9)


def test_subsets_follow_the_seed_and_are_of_different_images() -> None:
    rng, metric = np.random.default_rng(3), KernelDistance(subsets=3, subset_size=8)
    a, b = view(rng.normal(size=(20, 2))), view(rng.normal(size=(30, 2)))
    assert metric.measure(a, b, 1) == metric.measure(a, b, 1)
    assert metric.measure(a, b, 1)[0].value != metric.measure(a, b, 2)[0].value
    few = view(b.rows("features")[:20])
    one, other = (m.measure(a, few, 0)[0] for m in (KernelDistance(3, 20), KernelDistance(subset_size=0)))
    assert (one.value, one.stderr) == pytest.approx((other.value, other.stderr))


def test_a_reference_drawn_from_a_whole_is_not_taken_for_it() -> None:
    """Against 600 draws of 5 of 25, the variance by samples is in the mean what it is against all 25 (within four
    errors), and would be told from that without a correction by twice as many."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(25, 2))
    parts = [y[rng.choice(25, 5, replace=False)] for _ in range(600)]

    def apart(drawn: float) -> float:
        values = np.array([discrepancy(x, part, polynomial, drawn).linear for part in parts])
        offset = values.mean() - discrepancy(x, y, polynomial).linear
        return float(offset / (values.std() / math.sqrt(len(values))))

    assert abs(apart(1 - 5 / 25)) < 4
    assert apart(0.0) > 8


@pytest.mark.parametrize("size", [1, 3])
def test_subsets_too_small_for_a_variance_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="subset_size must be 0"):
        KernelDistance(subset_size=size)
