"""The reverse transition p(x_s | x_t) of a model, from one time to a cleaner one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from models.prediction.noise_model import Prediction
from sde_lib.base import GaussianProcess, coefficients

Variance = Literal["auto", "small", "large", "learned"]
"""Which variance a reverse step has: ``small`` is the posterior's (beta-tilde), ``large`` the forward step's
(beta), ``learned`` the network's; ``auto`` is ``learned`` where the network gives one, else ``small``."""


@dataclass(frozen=True)
class ReverseStep:
    """p(x_s | x_t) = N(mean, e^log_variance), both broadcastable to the state."""

    mean: Tensor
    log_variance: Tensor


def reverse_step(
    process: GaussianProcess, prediction: Prediction, t: Tensor, s: Tensor, variance: Variance = "auto"
) -> ReverseStep:
    """The reverse transition p(x_s | x_t): the posterior's mean at the predicted data, and a variance (Nichol &
    Dhariwal 2021, section 3.1).

    On a chain's closing step both fixed variances are ``DiscreteDiffusion.log_variances``'s ``smallest``.

    Args:
        process: the forward process.
        prediction: of the model at ``t``.
        t: the present time, (B,).
        s: the cleaner time to go to, (B,).
        variance: see ``Variance``.

    Raises:
        ValueError: learned variances are asked of a network that has none.
    """
    weights = coefficients(prediction.x, process.posterior_weights, t, s)
    mean = torch.addcmul(weights.of_x_t * prediction.x, weights.of_x0, prediction.x0)
    log_variance = reverse_log_variance(process, prediction, t, s, variance)
    if prediction.mean_gradient is not None:
        # Classifier guidance of the mean (Dhariwal & Nichol 2021, algorithm 1).
        mean = mean + log_variance.exp() * prediction.mean_gradient
    return ReverseStep(mean, log_variance)


def reverse_log_variance(
    process: GaussianProcess, prediction: Prediction, t: Tensor, s: Tensor, variance: Variance = "auto"
) -> Tensor:
    """The logarithm of a reverse step's variance, broadcastable to the state; arguments as for
    ``reverse_step``."""
    bounds = coefficients(prediction.x, _bounds, process, t, s)
    learned = prediction.variance
    if variance == "learned" or (variance == "auto" and learned is not None):
        if learned is None:
            raise ValueError(
                "variance 'learned' needs a network that learns it (model.variance='learned_range'); "
                "this one's is fixed: take 'small' or 'large'."
            )
        return learned.log_variance(bounds.smallest, bounds.largest)
    if variance == "large":
        return bounds.large
    return bounds.smallest


@dataclass(frozen=True)
class _Bounds:
    smallest: Tensor
    largest: Tensor
    large: Tensor


def _bounds(process: GaussianProcess, t: Tensor, s: Tensor) -> _Bounds:
    bounds = process.log_variances(t, s)
    # A decoder as wide as the first beta would blur the data; see ``log_variances``.
    large = torch.where(s == process.clean, bounds.smallest, bounds.largest)
    return _Bounds(bounds.smallest, bounds.largest, large)


def check_variance(variance: str) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: listing the known ones.
    """
    if variance not in get_args(Variance):
        raise ValueError(
            f"a reverse step's variance is one of {', '.join(get_args(Variance))}; got {variance!r}."
        )
