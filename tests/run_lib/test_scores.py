"""Scores of samples against closed forms, and comparisons of settings that share their seeds."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import numpy as np
import pytest
import torch
from ml_collections import ConfigDict

from models.exact.mixtures import ExactScore, GaussianMixtureScore, GaussianScore
from run_lib.config.components import Chosen
from run_lib.config.configuration import check_fields, read
from run_lib.config.tuning import build_scorer
from run_lib.data.levels import Arrays, DataSpec
from run_lib.statistics import t_interval
from run_lib.tuning.comparison import compare, runs
from run_lib.tuning.scorers import AgainstData, AgainstModes
from run_lib.tuning.scores import CONTEXT, Metric, Score, Scorer, register_scorer
from sde_lib import VPSDE


def values(scorer: Scorer, samples: np.ndarray) -> dict[str, float]:
    return {score.metric: score.value for score in scorer.scores(samples)}


def test_gaussian_in_closed_form() -> None:
    """Samples of N(m', s'^2): squared 2-Wasserstein distance sum (m - m')^2 + (s - s')^2, and the mean of
    ((x - m) / s)^2, which is ((m - m')^2 + s'^2) / s^2 averaged over coordinates."""
    mean, std = np.array([1.0, -0.5, 0.0]), np.array([0.5, 0.2, 2.0])
    target = GaussianScore(process=VPSDE(), mean=mean.tolist(), std=std.tolist())
    rng = np.random.default_rng(0)
    other_mean, other_std = mean + np.array([0.1, 0.0, -0.3]), std * [1.2, 1.0, 0.7]
    samples = other_mean + other_std * rng.standard_normal((200_000, 3))
    found = values(AgainstModes(target.modes((3,)), len(samples)), samples)
    assert found["frechet"] == pytest.approx(
        ((mean - other_mean) ** 2 + (std - other_std) ** 2).sum(), rel=0.02
    )
    assert found["variance"] == pytest.approx(
        ((((other_mean - mean) ** 2) + other_std**2) / std**2).mean(), rel=0.01
    )
    assert list(values(AgainstModes(target.modes((3,)), 3), samples[:3])) == ["variance"], (
        "no covariance of 3"
    )


def test_modes_in_closed_form() -> None:
    """Weights 1/4 and 3/4; shares 1/2 and 1/2: the total variation distance is 1/4. Each sample lies 1.5 stds
    of its mode from its centre in either coordinate: the variance is 2.25 times the target's."""
    target = GaussianMixtureScore(
        process=VPSDE(), means=[[0.0, 0.0], [5.0, 0.0]], stds=[0.1, 0.2], weights=[1.0, 3.0]
    )
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    samples = np.concatenate([1.5 * 0.1 * signs, [5.0, 0.0] + 1.5 * 0.2 * signs])
    found = values(AgainstModes(target.modes((2,)), len(samples)), samples)
    assert found["weights"] == pytest.approx(0.25)
    assert found["variance"] == pytest.approx(2.25)


def test_moments_of_a_mixture() -> None:
    """Many exact draws are as near to the closed moments as two sets of draws are to one another."""
    target = GaussianMixtureScore(
        process=VPSDE(), means=[[0.0, 0.0], [5.0, 1.0]], stds=[0.1, 0.2], weights=[1.0, 3.0]
    )
    rng = np.random.default_rng(0)
    mode = (rng.random(100_000) < 0.75).astype(int)
    draws = np.array([[0.0, 0.0], [5.0, 1.0]])[mode] + np.array([0.1, 0.2])[mode][
        :, None
    ] * rng.standard_normal((100_000, 2))
    found = values(AgainstModes(target.modes((2,)), len(draws)), draws)
    assert found["frechet"] < 1e-3
    assert found["weights"] < 0.01
    assert found["variance"] == pytest.approx(1, abs=0.01)


def test_modes_are_of_the_shape_of_a_sample() -> None:
    """A number stands for every coordinate."""
    modes = GaussianScore(process=VPSDE(), mean=0.5, std=torch.full((1, 2, 3), 2.0).tolist()).modes((1, 2, 3))
    assert modes.means.tolist() == [[0.5] * 6]
    assert modes.stds.tolist() == [[2.0] * 6]
    assert modes.weights.tolist() == [1.0]


def test_real_data_score_best() -> None:
    """The data themselves: no distance, and each sample within its own neighbourhood."""
    real = np.random.default_rng(0).standard_normal((300, 5))
    found = values(AgainstData(real, 300), real)
    assert found["frechet"] == pytest.approx(0, abs=1e-9)
    assert found["precision"] == found["recall"] == 1
    assert values(AgainstData(real, 300), real + np.eye(5)[0])["frechet"] == pytest.approx(1)


class Nearest(Scorer):
    """A user's own: the mean over samples of the p-norm to the nearest real sample.

    Args:
        order: p of the norm.
    """

    metrics = (Metric("distance", "least", "distance to the nearest image"),)

    def __init__(self, real: np.ndarray, order: float = 2.0) -> None:
        self._real, self._order = real.reshape(len(real), -1), order

    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        offsets = samples.reshape(len(samples), 1, -1).astype(float) - self._real
        nearest = np.linalg.norm(offsets, ord=self._order, axis=2).min(1)
        return (Score("distance", float(nearest.mean())),)


def chosen(**tune: object) -> Chosen:
    """The scorer of a configuration that sets these fields of its section tune."""
    return read(ConfigDict({"tune": tune}), [], "tune").choose("scorer")


def spec(density: ExactScore | None = None) -> DataSpec:
    """A training image of 3 and a test image of 9, everywhere."""
    images = {
        split: torch.full((1, 1, 2, 2), value, dtype=torch.uint8)
        for split, value in (("train", 3), ("test", 9))
    }
    return DataSpec(
        name="two",
        loader=lambda split: Arrays(images[split], torch.zeros(1)),
        density=density,
        shape=(1, 2, 2),
        levels=17,
        centered=True,
        dequantize=False,
        random_flip=False,
    )  # fmt: skip


def test_own_scorer_with_a_setting_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given what it names and no more: both splits, and its setting or the default. Samples of 4 and 7 are at a
    distance of 1 and 2 in each of four pixels, which the Euclidean norm doubles and the first adds up."""
    monkeypatch.setattr(register_scorer, "_entries", dict(register_scorer._entries))
    register_scorer(Nearest)
    samples = np.array([4, 7], np.uint8)[:, None, None, None].repeat(4, 1)
    assert values(build_scorer(chosen(scorer="nearest"), spec(), 10), samples) == {
        "distance": pytest.approx((2 + 4) / 2)
    }
    assert values(build_scorer(chosen(scorer="nearest", order=1.0), spec(), 10), samples) == {
        "distance": (4 + 8) / 2
    }
    with pytest.raises(
        ValueError, match=r"unknown config field config.tune.oder.*Did you mean config.tune.order"
    ):
        check_fields(ConfigDict({"tune": {"scorer": "nearest", "oder": 1.0}}))


@pytest.mark.parametrize("name", list(register_scorer))
def test_settings_of_scorers_are_declared(name: str) -> None:
    """Whatever the program does not give has a type, a default and a description."""
    factory = register_scorer[name]
    hints, described = (
        get_type_hints(factory.__init__),
        (inspect.getdoc(factory) or "").partition("Args:\n")[2],
    )
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.name not in CONTEXT:
            assert isinstance(parameter.default, hints[parameter.name])
            assert f"    {parameter.name}: " in described


def test_default_scorers() -> None:
    """By whether the density is known; one that needs it is refused without."""
    density = GaussianScore(process=VPSDE(), mean=0.5, std=2.0)
    exact = ConfigDict({"data": {"dataset": "exact"}})
    assert (chosen().name, read(exact, []).choose("scorer").name) == ("data", "modes")
    known = build_scorer(chosen(scorer="modes"), spec(density), 10)
    assert [metric.name for metric in known.metrics] == ["frechet", "variance"]
    assert values(known, np.full((10, 1, 2, 2), 2.5))["variance"] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"scorer 'modes' needs the density of the data, and that of 'two'"):
        build_scorer(chosen(scorer="modes"), spec(), 10)


def test_differences_are_paired() -> None:
    """Seeds differ by 10, settings by 1: unpaired intervals overlap, paired ones tell the settings apart."""
    seeds = np.array([0.0, 10.0, 20.0, 30.0])
    wobble = np.array([0.1, -0.1, 0.05, -0.05])
    losses = np.stack([seeds + 1, seeds + wobble, seeds + 0.02 - wobble])
    assert t_interval(losses[0], 0.95).half > 10
    found = compare(losses, 0.95)
    assert found.best == 1
    assert found.equal == (False, True, True)


@pytest.mark.parametrize(
    ("equal", "expected"),
    [
        ([True, True, True, True], [[3, 2, 1, 0]]),
        ([True, False, True, True], [[3, 2], [0]]),
        ([False, False, True, False], [[2]]),
        ([True, False, False, True], [[3], [0]]),
    ],
)
def test_values_that_cannot_be_told_from_the_best_are_apart_where_a_worse_one_lies_between(
    equal: list[bool], expected: list[list[int]]
) -> None:
    assert runs(equal, [3, 2, 1, 0]) == expected
