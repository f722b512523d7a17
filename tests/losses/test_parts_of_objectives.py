"""Distributions of times, and errors of each kind of output, on processes of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from losses import StratifiedLevels, StratifiedTimes, UniformLevels, UniformTimes
from losses.of_samples import Losses
from losses.vlb import RESIDUALS
from models.prediction.noise_model import Prediction
from sde_lib import VESDE, VPSDE, DiscreteDiffusion, Noise, expand, subVPSDE
from sde_lib.discrete import ddpm_chain


def chain(levels: int = 20) -> DiscreteDiffusion:
    return ddpm_chain(N=levels)


def test_strata_of_levels() -> None:
    """As many samples as levels: each level once; twice as many: each twice; half as many: one of each pair."""
    process = chain(20)
    for count in (20, 40):
        found = StratifiedLevels().sample(process, Noise(0, range(count)))
        assert found.tolist() == [k * 20 // count for k in range(count)]
    found = StratifiedLevels().sample(process, Noise(0, range(10)))
    assert (found // 2).tolist() == list(range(10))


def test_strata_of_times() -> None:
    """One in each of equal intervals of [t_min, T]; uniform times fill it, levels likewise."""
    process = VPSDE()
    t = StratifiedTimes().sample(process, Noise(0, range(50)))
    places = (t - process.t_min) / (process.T - process.t_min) * 50
    assert places.floor().tolist() == list(range(50))
    t = UniformTimes().sample(process, Noise(0, range(4000)))
    share = (t - process.t_min) / (process.T - process.t_min)
    assert 0 <= share.min() < 0.01 < 0.99 < share.max() < 1
    assert float(share.mean()) == pytest.approx(0.5, abs=0.02)
    levels = UniformLevels().sample(chain(20), Noise(0, range(4000)))
    assert torch.bincount(levels, minlength=20).min() > 130, "200 each, to 5 standard errors"
    assert (levels.min(), levels.max()) == (0, 19)


@pytest.mark.parametrize(
    "process", [VPSDE(), VESDE(), subVPSDE(), chain()], ids=["vp", "ve", "subvp", "chain"]
)
@pytest.mark.parametrize("output", ["eps", "score", "x0", "v"])
def test_residuals_are_the_errors_of_outputs(output: Any, process: Any) -> None:
    """With the exact target as output there is none; one that is larger by 1 has the error -1, of a score in units of
    1 / sigma. v = (alpha eps - sigma x0) / r with r^2 = alpha^2 + sigma^2, which is not 1 of a VE process.
    """
    x0 = Noise(1, range(4), dtype=torch.float64).normal((4, 3))
    t = (
        torch.tensor([3, 7, 12, 18])
        if isinstance(process, DiscreteDiffusion)
        else torch.tensor([0.1, 0.4, 0.7, 0.95])
    )
    t = t if isinstance(process, DiscreteDiffusion) else t.double()
    noisy = process.perturb(x0, t, Noise(0, range(4), dtype=torch.float64))
    m = process.marginal(t)
    alpha, sigma = expand(m.alpha, x0), expand(m.sigma, x0)
    targets: dict[str, Tensor] = {
        "eps": noisy.eps,
        "score": -noisy.eps / sigma,
        "x0": x0,
        "v": (alpha * noisy.eps - sigma * x0) / (alpha**2 + sigma**2).sqrt(),
    }
    unit = sigma if output == "score" else torch.ones_like(x0)
    for error in (0.0, 1.0):
        given = Prediction(noisy.x, alpha, sigma, targets[output] + error, output)
        found = RESIDUALS[output](process, given, x0, noisy, t)
        wanted = error * unit * (1 if output == "score" else -1)
        torch.testing.assert_close(
            found, wanted.expand_as(found), rtol=1e-6, atol=1e-6 * float(1 + sigma.max())
        )


@pytest.mark.parametrize("kind", ["eps", "score", "x0", "v"])
def test_views_of_a_prediction_agree(kind: Any) -> None:
    """Of one eps and x0 with x = alpha x0 + sigma eps, whatever the network gave; alpha and sigma as of no process.

    A score that is greater by g makes eps less by sigma g, x0 more by sigma^2 g / alpha, v less by sigma r g / alpha.
    """
    alpha, sigma = (torch.tensor(value, dtype=torch.float64) for value in (0.6, 3.0))
    x0, eps, g = Noise(2, range(3), dtype=torch.float64).normal((3, 3))
    r = (alpha**2 + sigma**2).sqrt()

    def views(x0: Tensor, eps: Tensor) -> dict[str, Tensor]:
        return {"eps": eps, "x0": x0, "score": -eps / sigma, "v": (alpha * eps - sigma * x0) / r}

    given = Prediction(alpha * x0 + sigma * eps, alpha, sigma, views(x0, eps)[kind], kind)
    for name, wanted in views(x0, eps).items():
        torch.testing.assert_close(getattr(given, name), wanted)
    moved = given.plus_score(g)
    assert moved.kind == kind
    for name, wanted in views(x0 + sigma**2 / alpha * g, eps - sigma * g).items():
        torch.testing.assert_close(getattr(moved, name), wanted)


def test_weights_of_losses_are_divided_out() -> None:
    values, t = torch.tensor([2.0, 6.0]), torch.tensor([0, 1])
    assert Losses(values, t, None).unweighted.tolist() == [2, 6]
    assert Losses(values, t, torch.tensor([4.0, 0.5])).unweighted.tolist() == [0.5, 12]
