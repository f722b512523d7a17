"""Cosine, density, explicit and respaced grids, the chain at real indices, and the grid that a pilot
finds.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import PCSampler
from samplers.correctors.none import NoneCorrector
from samplers.pilot import optimise_grid
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.ancestral_sampling import AncestralSampling
from sde_lib import Noise
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.grids import Cosine, Density, Explicit, LogSNR, Respaced
from tests.oracles import CASES, LINEAR_BETAS


@pytest.mark.parametrize("name", ["vp", "subvp", "ve"])
def test_cosine_steps_are_equal_in_the_angle(name: str) -> None:
    o = CASES[name].oracle
    angles = [math.atan2(o.sigma(t), o.alpha(t)) for t in Cosine().times(CASES[name].process, 9).tolist()]
    step = (angles[-1] - angles[0]) / 8
    assert [b - a for a, b in pairwise(angles)] == pytest.approx([step] * 8, rel=1e-6)


def test_flat_density_is_the_log_grid() -> None:
    process = CASES["vp"].process
    assert torch.allclose(
        Density((3.0, 3.0, 3.0)).times(process, 12), LogSNR().times(process, 12), rtol=1e-12
    )


def test_density_ratio_is_the_ratio_of_step_lengths() -> None:
    """log density from 0 to log 4: the first of many steps is four times as long as the last, to a step's
    width.

    Integrated, N steps of density e^(x log 4) have lengths 3 / (N log 4) / density, the density at their
    middles.
    """
    o, n = CASES["ve"].oracle, 400
    levels = [
        math.log(o.sigma(t)) for t in Density((0.0, math.log(4))).times(CASES["ve"].process, n + 1).tolist()
    ]
    lengths = [(a - b) / (levels[0] - levels[-1]) for a, b in pairwise(levels)]
    assert lengths[0] == pytest.approx(3 / (n * math.log(4)), rel=0.01)
    assert lengths[-1] == pytest.approx(3 / (n * math.log(4)) / 4, rel=0.01)


@pytest.mark.parametrize("name", ["vp", "ve", "ddpm"])
def test_density_like_the_cosine_grid(name: str) -> None:
    """Of an angle a in log(sigma/alpha): the share of the steps about each level is the angle that it spans.

    A chain's clean end has one level within reach, so that its density there is its own.
    """
    o, process, levels = CASES[name].oracle, CASES[name].process, 4
    top, low = (math.log(o.sigma(t) / o.alpha(t)) for t in (o.start, o.end))
    reach = 1 / (8 * (levels - 1))

    def density(position: float) -> float:
        ends = [min(max(position + d, 0.0), 1.0) for d in (-reach, reach)]
        angles = [math.atan(math.exp(top + (low - top) * p)) for p in ends]
        return math.log((angles[0] - angles[1]) / (ends[1] - ends[0]))

    expected = [density(k / (levels - 1)) - density(0.0) for k in range(levels)]
    found = Density.like(Cosine(), process, levels).log_density  # type: ignore[arg-type]
    if name == "ddpm":
        assert found[:-1] == pytest.approx(expected[:-1], abs=0.05)
    else:
        assert found == pytest.approx(expected, abs=1e-3)


def test_density_like_the_log_grid_is_flat() -> None:
    flat = Density.like(LogSNR(), CASES["vp"].process, 6).log_density  # type: ignore[arg-type]
    assert flat == pytest.approx([0.0] * 6, abs=1e-9)


def test_explicit_times_are_taken_as_they_are() -> None:
    assert Explicit([0.8, 0.5, 0.1]).times(CASES["vp"].process, 3).tolist() == [0.8, 0.5, 0.1]
    assert Explicit([700, 30, 2]).times(CASES["ddpm"].process, 3).tolist() == [700, 30, 2]


@pytest.mark.parametrize(
    ("values", "steps", "message"),
    [
        ([0.8, 0.1], 3, "has 2 values but num_steps is 3"),
        ([0.1, 0.8], 2, "distinct levels"),
        ([1.2, 0.8], 2, "up to 1.0"),
        ([0.8, 0.0], 2, "above 0.0"),
    ],
)
def test_explicit_times_are_checked(values: list[float], steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Explicit(values).times(CASES["vp"].process, steps)


def test_sections_are_spaced_each_by_itself() -> None:
    """Improved-diffusion's documented example: 300 levels, [10, 15, 20] strided to 10, 15 and 20 of each
    hundred.
    """
    chain = CASES["ddpm"].process.respace(range(300))  # type: ignore[attr-defined]
    times = Respaced(sections=(10, 15, 20)).times(chain, 45).flip(0).tolist()
    assert times[:10] == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert times[10] == 100
    assert times[24] == 199
    assert times[25] == 200
    assert times[-1] == 299


@pytest.mark.parametrize(
    ("spacing", "steps", "expected"),
    [
        ("linspace", 5, [999, 749, 500, 250, 0]),
        ("leading", 4, [750, 500, 250, 0]),
        ("trailing", 4, [999, 749, 499, 249]),
        # 7 does not divide 1000: leading steps by 142, and trailing keeps the whole range.
        ("leading", 7, [852, 710, 568, 426, 284, 142, 0]),
        ("trailing", 7, [999, 856, 713, 570, 428, 285, 142]),
    ],
)
def test_spacings_of_other_libraries(spacing: str, steps: int, expected: list[int]) -> None:
    times = Respaced(spacing=spacing).times(CASES["ddpm"].process, steps)  # type: ignore[arg-type]
    assert times.tolist() == expected


def test_sections_must_agree_with_the_steps() -> None:
    with pytest.raises(ValueError, match=r"are 30 steps but num_steps is 20"):
        Respaced(sections=(10, 20)).times(CASES["ddpm"].process, 20)


def test_interpolated_chain_is_the_chain_at_integers_and_log_linear_between() -> None:
    chain, o = InterpolatedChain(CASES["ddpm"].process), CASES["ddpm"].oracle  # type: ignore[arg-type]
    t = torch.tensor([0.0, 10.0, 10.25, 998.5, 999.0], dtype=torch.float64)
    level = chain.marginal(t)

    def between(f: object, t: float) -> float:
        low = min(int(t), len(LINEAR_BETAS) - 2)
        return math.exp((1 - t + low) * math.log(f(low)) + (t - low) * math.log(f(low + 1)))  # type: ignore[operator]

    assert level.alpha.tolist() == pytest.approx([between(o.alpha, v) for v in t.tolist()], rel=1e-12)
    assert level.sigma.tolist() == pytest.approx([between(o.sigma, v) for v in t.tolist()], rel=1e-12)
    assert chain.time_of(level.sigma / level.alpha).tolist() == pytest.approx(t.tolist(), abs=1e-9)


def test_pilot_lowers_the_error_on_other_samples() -> None:
    """Ten-fold at least, on prior draws that the pilot has not seen; the search costs what it says."""
    process = CASES["vp"].process
    model = NoiseModel(GaussianScore(process=process, std=0.25), process, Time(process), "score")
    predictor, steps = ExponentialAdams(order=2), 6
    found = optimise_grid(
        model,
        predictor,
        steps,
        (4, 8),
        Noise(0, range(4), dtype=torch.float64),
        starts=(LogSNR(),),
        levels=4,
        trials=40,
        reference_steps=80,
    )
    assert found.nfe == model.nfe
    assert found.error < found.before / 10
    x = Noise(9, range(4), dtype=torch.float64).normal((4, 8))
    exact, log, ours = (
        list(PCSampler(model, p, NoneCorrector(), g.times(process, n)).iterate(x, Noise(0, range(4))))[-1].x
        for p, g, n in (
            (ExponentialAdams(order=4), LogSNR(), 400),
            (predictor, LogSNR(), steps),
            (predictor, found.grid, steps),
        )
    )
    assert (ours - exact).norm() < (log - exact).norm() / 10


def test_pilot_refuses_a_stochastic_predictor() -> None:
    process = CASES["vp"].process
    model = NoiseModel(GaussianScore(process=process), process, Time(process), "score")
    with pytest.raises(ValueError, match="deterministic"):
        optimise_grid(model, AncestralSampling(), 5, (2, 3), Noise(0, range(2)))
