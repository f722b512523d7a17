"""The bespoke solver: what its shares mean, and that the search lowers the error on samples not searched on."""

from __future__ import annotations

import math

import pytest
import torch

from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import PCSampler
from samplers.bespoke import optimise_bespoke
from samplers.correctors.none import NoneCorrector
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.bespoke import Bespoke
from samplers.predictors.dpm_solver import DPMSolverMultistep
from sde_lib import Noise
from sde_lib.grids import LogSNR
from tests.oracles import CASES

VP = CASES["vp"]


def exact(process: object = VP.process) -> NoiseModel:
    return NoiseModel(GaussianScore(process=process, std=0.25), process, Time(process), "score")  # type: ignore[arg-type]


def result(model: NoiseModel, predictor: object, times: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    *_, last = PCSampler(model, predictor, NoneCorrector(), times).iterate(x, Noise(0, range(len(x))))  # type: ignore[arg-type]
    return last.x


def test_shares_of_two_values_are_dpm_solver() -> None:
    """Equal steps h in log(alpha/sigma): the line's exact integral has the older value's share
    1 / (1 - e^-h) - 1 / h - 1, negated, as phi_1 and phi_2 of Lu et al. 2022b have it.
    """
    o, steps = VP.oracle, 9
    ends = [math.log(o.alpha(t) / o.sigma(t)) for t in (o.start, o.end)]
    h = (ends[1] - ends[0]) / steps
    older = -(h / -math.expm1(-h) - 1) / h
    shares = [(1.0,), *[(1 - older, older)] * (steps - 1)]
    times = LogSNR().times(VP.process, steps + 1)
    x = Noise(1, range(3), dtype=torch.float64).normal((3, 4))
    ours = result(exact(), Bespoke(shares), times, x)
    # The slope's part: int alpha_s e^(l - l_s) (l - l_t) dl / h = alpha_s (h - 1 + e^-h) / h.
    assert older == pytest.approx(-(h - 1 + math.exp(-h)) / h / -math.expm1(-h), rel=1e-12)
    assert torch.allclose(ours, result(exact(), DPMSolverMultistep(2), times, x), rtol=0, atol=1e-9)


def test_after_a_reset_the_oldest_value_takes_the_rest() -> None:
    """The shares still sum to one: with no memory the step is DDIM's, x_s = alpha_s x0 + sigma_s eps."""
    o = VP.oracle
    row, t, s = Bespoke([(1.7, -0.9, 0.2)]), 0.6, 0.4
    at = [torch.tensor([v], dtype=torch.float64) for v in (t, s)]
    x = torch.tensor([[0.8]], dtype=torch.float64)
    step = row.update_fn(exact(), x, *at, Noise(0, range(1)))
    x0 = o.alpha(t) * 0.25**2 / ((o.alpha(t) * 0.25) ** 2 + o.sigma(t) ** 2) * 0.8
    expected = o.alpha(s) * x0 + o.sigma(s) / o.sigma(t) * (0.8 - o.alpha(t) * x0)
    assert step.x.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_search_lowers_the_error_on_other_samples() -> None:
    """Two narrow modes, five evaluations, where second-order DPM-Solver++ errs most; a tenth of its error."""
    network = GaussianMixtureScore(process=VP.process, means=[[-0.6] * 4, [0.7] * 4], stds=0.1)
    model = NoiseModel(network, VP.process, Time(VP.process), "score")
    noise = Noise(2, range(64), dtype=torch.float64)
    found = optimise_bespoke(
        model, 5, (64, 4), noise, starts=(LogSNR(),), iterations=40, finalists=1, reference_steps=80, chunk=48
    )
    assert found.nfe == model.nfe
    assert found.error < found.before
    x = Noise(9, range(256), dtype=torch.float64).normal((256, 4))
    fine = result(model, ExponentialAdams(4), LogSNR().times(VP.process, 300), x)
    log = result(model, DPMSolverMultistep(2), LogSNR().times(VP.process, 5), x)
    ours = result(model, found.predictor, found.grid.times(VP.process, 5), x)
    assert (ours - fine).norm() < (log - fine).norm() / 10


def test_error_is_the_pilots() -> None:
    """Of the solver that is returned, on the same draws, run by the loop."""
    model = exact()
    noise = Noise(2, range(4), dtype=torch.float64)
    found = optimise_bespoke(model, 4, (4, 8), noise, starts=(LogSNR(),), iterations=2, reference_steps=150)
    x = VP.process.prior_sampling((4, 8), Noise(2, range(4), dtype=torch.float64))
    fine = result(model, ExponentialAdams(4, "x0", True), LogSNR().times(VP.process, 150), x)
    ours = result(model, found.predictor, found.grid.times(VP.process, 4), x)
    assert (ours - fine).square().mean().sqrt().item() == pytest.approx(found.error, rel=1e-3)


def test_a_chains_own_indices_are_refused() -> None:
    with pytest.raises(ValueError, match="take its interpolated form"):
        optimise_bespoke(exact(CASES["ddpm"].process), 5, (2, 3), Noise(0, range(2)))


@pytest.mark.parametrize(
    ("shares", "message"),
    [([(1.0,), (1.5, -0.4)], "those of step 1 do not"), ([()], "those of step 0 do not")],
)
def test_shares_that_do_not_sum_to_one_are_refused(shares: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bespoke(shares)


def test_shares_for_another_grid_are_refused() -> None:
    run = PCSampler(exact(), Bespoke([(1.0,)] * 3), NoneCorrector(), LogSNR().times(VP.process, 6))
    with pytest.raises(ValueError, match=r"for 3 steps but the grid has 5.*grid of 4 times"):
        run.sample((2, 3), Noise(0, range(2)))
