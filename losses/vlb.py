"""Losses of chains: the error of the network's output, the variational bound, and both together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from torch import Tensor

from losses.base import Loss
from losses.times import TimeSampler
from models.prediction.bound import bound_term
from models.prediction.noise_model import Output, Prediction
from models.prediction.reverse import Variance
from models.prediction.velocity import velocity_weights
from sde_lib.base import GaussianProcess, GaussianSDE, Perturbed, Process, expand
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.gaussian import Bins
from sde_lib.needs import NeededProcess
from sde_lib.settings import Range

Residual = Callable[[Any, Prediction, Tensor, Perturbed, Tensor], Tensor]
"""(process, prediction, x0, noisy, t) -> target minus output, shaped like the state.

The process is one that can have such an output, as ``NoiseModel`` checks: for v it has a Gaussian marginal, for the
previous state it is a chain.
"""


def _eps(process: Process, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor) -> Tensor:
    return noisy.eps - prediction.eps


def _score(process: Process, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor) -> Tensor:
    return noisy.eps + expand(noisy.std, x0) * prediction.score


def _x0(process: Process, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor) -> Tensor:
    return x0 - prediction.x0


def _v(process: GaussianProcess, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor) -> Tensor:
    m = process.marginal(t)
    r = (m.alpha**2 + m.sigma**2).sqrt()
    return expand(m.alpha / r, x0) * noisy.eps - expand(m.sigma / r, x0) * x0 - prediction.v


def _velocity(
    process: GaussianSDE, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
) -> Tensor:
    # The state is in the target as in the output: their difference is that of v, in other units.
    weights = velocity_weights(process.marginal(t), process.path_rates(t))
    return _v(process, prediction, x0, noisy, t) / expand(weights.of_velocity, x0)


def _previous(
    process: DiscreteDiffusion, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
) -> Tensor:
    # The target is the posterior's mean, which differs from the output by the share of x_0 in it.
    return expand(process.posterior_weights(t, t - 1).of_x0, x0) * (x0 - prediction.x0)


RESIDUALS: dict[str, Residual] = {
    "eps": _eps,
    "score": _score,
    "x0": _x0,
    "v": _v,
    "velocity": _velocity,
    "reversed_velocity": _velocity,
    "previous": _previous,
}


def output_error(
    output: Output, process: Process, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
) -> Tensor:
    """The mean squared error of what the network outputs, (B,)."""
    return RESIDUALS[output](process, prediction, x0, noisy, t).square().flatten(1).mean(1)


@dataclass(frozen=True)
class OutputLoss(Loss[NeededProcess]):
    """The mean squared error of what the network outputs (L_simple, Ho et al. 2020, eq. 14, for eps).

    Args:
        times: distribution of the times.
        output: what the network outputs; of a score, the error is taken in units of 1 / sigma.
    """

    squares: ClassVar[bool] = True
    times: TimeSampler[NeededProcess]
    output: Output = "eps"

    def values(
        self, process: NeededProcess, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
    ) -> Tensor:
        return output_error(self.output, process, prediction, x0, noisy, t)


@dataclass(frozen=True)
class BoundLoss(Loss[DiscreteDiffusion]):
    """A term of the variational bound in bits/dim, at a random step of a chain (Ho et al. 2020, eq. 5).

    Args:
        times: distribution of the steps.
        bins: levels of discrete data; None for continuous data.
        variance: variance of the model's reverse steps; see ``models.prediction.reverse``.
        rescale: whether to multiply by the number of levels, so that the mean is the bound without its constant term.
    """

    needs: ClassVar[type] = DiscreteDiffusion
    bounds: ClassVar[bool] = True
    times: TimeSampler[DiscreteDiffusion]
    bins: Bins | None
    variance: Variance = "auto"
    rescale: bool = False

    def values(
        self, process: DiscreteDiffusion, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
    ) -> Tensor:
        nats = bound_term(process, prediction, x0, t, t - 1, variance=self.variance, bins=self.bins)
        return nats * ((process.num_levels if self.rescale else 1) / math.log(2))


@dataclass(frozen=True)
class HybridLoss(Loss[DiscreteDiffusion]):
    """L_simple + w L_vlb, where the bound trains the variances alone (Nichol & Dhariwal 2021, eq. 16).

    The prediction is held fixed in the bound's term, so its mean is trained by L_simple as ever.

    Args:
        times: distribution of the times.
        output: see ``OutputLoss``.
        bins: see ``BoundLoss``.
        weight: factor w of the whole bound in bits/dim, 0.001 in the paper; None: 1 / num_levels, one term as it is.
    """

    needs: ClassVar[type] = DiscreteDiffusion
    bounds: ClassVar[bool] = True
    times: TimeSampler[DiscreteDiffusion]
    output: Output
    bins: Bins | None
    weight: Annotated[float, Range(least=0)] | None = 0.001

    def values(
        self, process: DiscreteDiffusion, prediction: Prediction, x0: Tensor, noisy: Perturbed, t: Tensor
    ) -> Tensor:
        frozen = replace(prediction, output=prediction.output.detach())
        bound = bound_term(process, frozen, x0, t, t - 1, variance="learned", bins=self.bins) * (
            1 / math.log(2)
        )
        factor = 1 if self.weight is None else self.weight * process.num_levels
        simple = output_error(self.output, process, prediction, x0, noisy, t)
        return simple + factor * bound
