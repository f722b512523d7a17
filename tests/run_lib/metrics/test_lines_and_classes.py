"""The sliced Wasserstein distance and the Inception Score in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from run_lib.metrics import sliced_wasserstein
from run_lib.metrics.base import InMemory, Measured
from run_lib.metrics.inception_score import InceptionScore
from run_lib.metrics.sliced_wasserstein import SlicedWasserstein, transport

RNG = np.random.default_rng(0)


def sliced(samples: np.ndarray, reference: np.ndarray, directions: int = 100, seed: int = 0) -> Measured:
    a, b = (InMemory({"features": rows}) for rows in (samples, reference))
    return SlicedWasserstein(directions).measure(a, b, seed)[0]


def test_a_translated_set() -> None:
    """On each line the whole way is the offset's shadow, whose mean square is |offset|^2 / D: in one dimension exact,
    in three to the directions' own error, which is told."""
    rows, offset = RNG.normal(size=(80, 3)), np.array([1.0, 2.0, -2.0])
    assert sliced(rows[:, :1] + 3, rows[:, :1], 1).value == pytest.approx(3)
    found = sliced(rows + offset, rows, 4000)
    # cos^2 is uniform's square in 3 dimensions: mean 1/3, variance 4/45; the root's error is half of it.
    assert found.value == pytest.approx(
        3 / math.sqrt(3), abs=4 * 9 * math.sqrt(4 / 45 / 4000) / (2 * math.sqrt(3))
    )
    assert "others would change it by" in found.note
    assert sliced(rows, rows, 5) == Measured("", 0.0, 0.0)


def test_a_scaled_set() -> None:
    """x -> 2 x moves each projection by itself: the mean of squares is that of |x|^2 / D."""
    rows = RNG.normal(size=(200, 2))
    assert sliced(2 * rows[:, :1], rows[:, :1], 1).value == pytest.approx(math.sqrt((rows[:, 0] ** 2).mean()))
    found = sliced(2 * rows, rows, 2000).value
    assert found == pytest.approx(math.sqrt((rows**2).sum(1).mean() / 2), rel=0.03)


@pytest.mark.parametrize("sizes", [(12, 12), (12, 8), (7, 30)])
def test_sets_of_different_sizes(sizes: tuple[int, int]) -> None:
    """As each set repeated to the common multiple of the sizes, whose sorted values are paired."""
    a, b = (RNG.normal(size=(n, 2)) for n in sizes)
    common = math.lcm(*sizes)
    pairs = (np.sort(np.repeat(rows, common // len(rows), 0), 0) for rows in (a, b))
    left, right = pairs
    assert transport(a, b).squares == pytest.approx(((left - right) ** 2).mean(0))


def test_what_a_sample_adds_is_the_derivative_by_its_weight() -> None:
    """Against samples given twice among 4,000: weights of 2 / 4,001 for 1 / 4,000, against a reference of the same
    size, to a hundredth of the greatest."""
    a, b = RNG.normal(size=(4000, 1)) * 1.5 + 1, RNG.normal(size=(4000, 1))
    whole = transport(a, b)
    chosen = a[:, 0].argsort()[[0, 400, 1000, 2000, 3000, 3600, 3999]]
    changes = [
        float((transport(np.append(a, a[i : i + 1], 0), b).squares - whole.squares)[0]) * 4001 for i in chosen
    ]
    assert whole.influence[chosen] == pytest.approx(
        np.array(changes), abs=np.abs(whole.influence).max() / 100
    )


def test_lines_are_drawn_by_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = RNG.normal(size=(30, 3)), RNG.normal(size=(40, 3))
    first = sliced(a, b, 10, 1)
    assert sliced(a, b, 10, 1) == first
    assert sliced(a, b, 10, 2).value != first.value
    monkeypatch.setattr(sliced_wasserstein, "LINES", 3)
    parts = sliced(a, b, 10, 1)
    assert (parts.value, parts.stderr) == pytest.approx((first.value, first.stderr))


def scores(logits: np.ndarray, splits: int) -> dict[str, Measured]:
    found = InceptionScore(splits).measure(InMemory({"logits": logits}), None, 0)
    return {one.name: one for one in found}


def test_inception_scores_at_the_ends() -> None:
    """Sure of each image and all four classes alike: 4. The same answer for all: 1, without an error."""
    sure = np.tile(1000 * np.eye(4), (5, 1)).astype(np.float32)
    assert scores(sure, 1)[""].value == pytest.approx(4)
    same = scores(np.tile([0.0, 1.0, 3.0], (20, 1)), 2)
    assert (same[""].value, same[""].stderr) == pytest.approx((1, 0))
    assert list(scores(sure, 1)) == [""]


def test_few_samples_make_the_inception_score_too_small() -> None:
    """By the share that is told, of leading order in 1/N: 1,000 sets of 40 with 8 classes against one of 100,000."""
    rng = np.random.default_rng(1)
    truth = scores(1.5 * rng.normal(size=(100_000, 8)), 1)[""]
    few = [scores(1.5 * rng.normal(size=(40, 8)), 1)[""] for _ in range(1000)]
    values = np.array([one.value for one in few])
    told = np.array([float(one.note.split("about ")[1].split(" %")[0]) / 100 for one in few])
    error = values.std() / math.sqrt(1000) / truth.value
    assert 1 - values.mean() / truth.value == pytest.approx(told.mean(), abs=4 * error)
    assert told.mean() > 8 * error
    assert not truth.note


def test_shares_of_no_class_are_no_fault() -> None:
    """A class to which no image gives a chance that a float can hold has no part in the score."""
    logits = np.array([[0.0, 800.0, -800.0], [800.0, 0.0, -800.0]])
    assert scores(logits, 1)[""].value == pytest.approx(2)
    assert scipy.stats.entropy([0.5, 0.5]) == pytest.approx(math.log(scores(logits, 1)[""].value))
