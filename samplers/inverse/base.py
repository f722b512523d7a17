"""Models of the posterior p(x_t | y) given a measurement: the interface of methods for inverse problems."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from samplers.operators.base import LinearOperator, Measurement, NoiseStd, check_measurement, check_noise_std
from sde_lib.base import GaussianProcess
from sde_lib.registry import Registry


@dataclass(frozen=True)
class Estimate:
    """The data that the model predicts from x_t, compared with the measurement, and the Jacobian of the prediction.

    Attributes:
        t: the time, (B,).
        alpha, sigma: of the marginal, (B,).
        residual: y - A E[x_0 | x_t], shaped like y.
        operator: A; of a measurement that is not linear, its derivative at E[x_0 | x_t].
        pullback: v -> J^T v for J = d E[x_0 | x_t] / d x_t; both shaped like x.
    """

    t: Tensor
    alpha: Tensor
    sigma: Tensor
    residual: Tensor
    operator: LinearOperator
    pullback: Callable[[Tensor], Tensor]


class PosteriorModel(Model, abc.ABC):
    """``model`` given y = A x_0 + noise_std n: its score becomes score + grad log p(y | x_t), for any sampler.

    Of the data, E[x_0 | x_t, y] = E[x_0 | x_t] + (sigma^2 / alpha) grad log p(y | x_t), and so on for eps and v:
    every view of the prediction is of the posterior. p(y | x_t) has no closed form: each subclass has its
    approximation.

    The measurement is an argument of each call, ``sampler.sample(shape, noise, measurement=y)``, one row a
    sample. A call is one evaluation of ``model`` and counts as such in ``nfe``; ``pullbacks`` counts the
    vector-Jacobian products beside it, which cost up to two evaluations each.

    Args:
        model: a model of a process with a Gaussian marginal, the prior.
        operator: A, the measurement.
        noise_std: standard deviation of the measurement's noise.

    Raises:
        ValueError: a negative noise, or a process without a Gaussian marginal.
    """

    process: GaussianProcess

    def __init__(self, model: Model, operator: Measurement, *, noise_std: NoiseStd = 0.0) -> None:
        super().__init__()
        check_noise_std(noise_std)
        if not isinstance(model.process, GaussianProcess):
            raise ValueError(
                f"{type(self).__name__} needs a process with a Gaussian marginal, and "
                f"{type(model.process).__name__} has none."
            )
        self.model, self.process = model, model.process
        self.operator, self.noise_std = operator, noise_std
        self.pullbacks = 0

    @property
    def nfe(self) -> int:
        return self.model.nfe

    @property
    def one_graph(self) -> bool:
        """A method takes as many pullbacks as it counts."""
        return False

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """The operator's tables move to a device with the model; they keep their precision."""
        self.operator = self.operator.map(lambda a: a.to(fn(torch.empty(0, device=a.device)).device))
        apply: Callable[..., Any] = super()._apply
        return apply(fn, recurse)

    @abc.abstractmethod
    def likelihood_score(self, estimate: Estimate) -> Tensor:
        """grad log p(y | x_t), the method's approximation of it; shaped like x."""

    def forward(self, x: Tensor, t: Tensor, *, measurement: Tensor | None = None, **cond: Any) -> Prediction:
        """The prediction given y, at states ``x`` (B, ...), with ``measurement`` y of each.

        Raises:
            ValueError: no measurement, or one of another shape than A x.
        """
        if measurement is None:
            raise ValueError(
                f"{type(self).__name__} needs the measurement y of each sample: "
                "sampler.sample(shape, noise, measurement=y)."
            )
        # Samplers run without gradients.
        with torch.enable_grad():
            x_t = x.detach().requires_grad_()
            prediction: Prediction = self.model(x_t, t, **cond)
            x0 = prediction.x0

        def pullback(v: Tensor) -> Tensor:
            self.pullbacks += 1
            return torch.autograd.grad(x0, x_t, v, retain_graph=True)[0]

        near = self.operator.at(x0.detach())
        check_measurement(near.image.shape, measurement)
        residual = self.operator.restrict(measurement.to(near.image.dtype)) - near.image
        prediction = prediction.detached()
        assert prediction.alpha is not None and prediction.sigma is not None, "the process has a marginal"
        alpha, sigma = prediction.alpha.reshape(len(x)), prediction.sigma.reshape(len(x))
        estimate = Estimate(t, alpha, sigma, residual, near.operator, pullback)
        return prediction.plus_score(self.likelihood_score(estimate))


register_posterior: Registry[PosteriorModel] = Registry("posterior method")
"""Methods for inverse problems by name: ``method(model, operator, noise_std=..., settings)``."""
