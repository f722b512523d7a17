"""The variance of a reverse step decides the variance of the samples: Gaussian data, exact predictions.

Data N(0, std^2) make every reverse step Gaussian with a linear mean, so the variance of the chain's samples
follows from the steps without any sampling: v_s = c^2 v_t + w, where mean(x) = c x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from models.base import Network
from models.prediction.noise_model import NoiseModel
from models.prediction.reverse import Variance
from models.prediction.time_encoding import Time
from samplers.predictors.ancestral_sampling import AncestralSampling
from sde_lib.base import expand
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.noise import Noise
from sde_lib.respacing import kept_levels
from sde_lib.schedules import cosine_betas, linear_betas

STD = 0.5
SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}


def exact_variance(chain: DiscreteDiffusion, t: Tensor, s: Tensor) -> Tensor:
    """Var[x_s | x_t]: x_s and x_t are jointly Gaussian, with covariance scale Var[x_s]."""
    ms, mt = chain.marginal(s), chain.marginal(t)
    of_s, of_t = ((m.alpha * STD) ** 2 + m.sigma**2 for m in (ms, mt))
    return of_s - (chain.transition(t, s).scale * of_s) ** 2 / of_t


class Oracle(Network):
    """E[eps | x_t], and the exact variance of the step below as a place in its range."""

    time_label: ClassVar[str] = "time"

    def __init__(self, chain: DiscreteDiffusion) -> None:
        super().__init__()
        self.chain = chain

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        t = labels.long()
        m, bounds = self.chain.marginal(t), self.chain.log_variances(t, t - 1)
        eps = expand(m.sigma / ((m.alpha * STD) ** 2 + m.sigma**2), x) * x
        wanted = exact_variance(self.chain, t, t - 1).log()
        place = 2 * (wanted - bounds.smallest) / (bounds.largest - bounds.smallest) - 1
        return torch.cat([eps, expand(place, x).expand_as(x)], 1)


class Constant(Noise):
    """Streams that give one value."""

    def __init__(self, value: float, batch: int = 1) -> None:
        super().__init__(0, range(batch), dtype=torch.float64)
        self.value = value

    def normal(self, shape: Sequence[int]) -> Tensor:
        return torch.full(tuple(shape), self.value, dtype=torch.float64)


def variance_error(chain: DiscreteDiffusion, variance: Variance) -> float:
    """Relative error of the variance of samples at the chain's cleanest level."""
    model = NoiseModel(Oracle(chain), chain, Time(chain), "eps", "learned_range")
    predictor = AncestralSampling(variance=variance)
    t = torch.arange(chain.num_levels - 1, 0, -1)  # every step of the chain, as a batch
    one = torch.ones(len(t), 1, dtype=torch.float64)
    gains = predictor.update_fn(model, one, t, t - 1, Constant(0, len(t))).x
    noises = predictor.update_fn(model, 0 * one, t, t - 1, Constant(1, len(t))).x
    v = 1.0
    for gain, noise in zip(gains.flatten().tolist(), noises.flatten().tolist(), strict=True):
        v = gain**2 * v + noise**2
    m = chain.marginal(torch.tensor(0))
    return v / float((m.alpha * STD) ** 2 + m.sigma**2) - 1


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [10, 25, 50, 250])
def test_the_learned_variance_gives_the_datas_variance(schedule: str, steps: int) -> None:
    """Exact steps from N(0, 1) err only as the prior does, by alpha_T^2 (1 - std^2) = 3e-5 (linear), damped.

    Fixed variances are exact for data that are a point or a standard normal, so these data lie between.
    """
    whole = DiscreteDiffusion.ddpm(SCHEDULES[schedule](1000))
    chain = whole.respace(kept_levels(1000, str(steps)))
    learned, small, large = (variance_error(chain, v) for v in ("learned", "small", "large"))
    assert abs(learned) < 3e-5
    assert small < -100 * 3e-5
    assert large > 100 * 3e-5


def test_fixed_variances_err_less_with_more_steps() -> None:
    """Of first order in the step: ten times the steps, about a tenth of the error."""
    whole = DiscreteDiffusion.ddpm(linear_betas(1000))
    chains = [whole.respace(kept_levels(1000, n)) for n in ("100", "1000")]
    for variance in ("small", "large"):
        coarse, fine = (variance_error(chain, variance) for chain in chains)
        assert 8 < coarse / fine < 14


def test_auto_takes_what_the_network_learnt() -> None:
    chain = DiscreteDiffusion.ddpm(linear_betas(40))
    assert variance_error(chain, "auto") == variance_error(chain, "learned")


def test_learned_variance_of_a_network_without_is_refused() -> None:
    chain = DiscreteDiffusion.ddpm(linear_betas(40))

    class Zero(Network):
        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            return 0 * x

    model = NoiseModel(Zero(), chain, Time(chain), "eps")
    with pytest.raises(ValueError, match="needs a network that learns it"):
        AncestralSampling(variance="learned").update_fn(
            model, torch.zeros(1, 1), torch.tensor([3]), torch.tensor([2]), Noise(0, range(1))
        )
    with pytest.raises(ValueError, match="auto, small, large, learned; got 'big'"):
        AncestralSampling(variance="big")  # type: ignore[arg-type]
    wrong = NoiseModel(Zero(), chain, Time(chain), "eps", "learned_range")
    with pytest.raises(
        ValueError, match="6 output channels, 3 for the prediction and 3 for the variances; this one has 3"
    ):
        wrong(torch.zeros(1, 3, 2, 2), torch.tensor([3]))


def test_the_step_to_clean_data_adds_no_noise() -> None:
    """Whatever the variance: with alpha = 1 and sigma = 0 the mean is the data."""
    chain = DiscreteDiffusion.ddpm(linear_betas(40))
    model = NoiseModel(Oracle(chain), chain, Time(chain), "eps", "learned_range")
    x, t = torch.ones(1, 1, dtype=torch.float64), torch.tensor([0])
    for variance in ("small", "large", "learned"):
        step = AncestralSampling(variance=variance).update_fn(model, x, t, t - 1, Constant(1))
        assert torch.equal(step.x, step.mean)
        torch.testing.assert_close(step.x, model(x, t).x0)
