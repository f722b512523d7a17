"""The exact score of Gaussian data whose elements depend on one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.base import register_model
from models.blocks.conditioning import refuse_unknown
from models.exact.mixtures import ExactScore
from sde_lib.base import Process
from sde_lib.noise import Noise


@register_model(name="correlated_gaussian")
class CorrelatedGaussianScore(ExactScore):
    """The exact score of Gaussian data N(mean, C): -(alpha^2 C + sigma^2 I)^-1 (x - alpha mean).

    It is computed in the basis of C's eigenvectors.

    Args:
        process: what diffuses the data; one with a Gaussian marginal.
        mean: a number, or D of them: D is the number of elements of a sample, whatever its shape.
        covariance: C, (D, D), symmetric and positive definite.

    Raises:
        ValueError: a covariance that is none, or a mean of another length.
    """

    mean: Tensor
    variances: Tensor
    axes: Tensor

    def __init__(
        self,
        *,
        process: Process,
        covariance: Sequence[Sequence[float]] | Tensor,
        mean: float | Sequence[float] | Tensor = 0.0,
    ) -> None:
        super().__init__(process)
        c = torch.as_tensor(covariance, dtype=torch.float64)
        if c.ndim != 2 or c.shape[0] != c.shape[1] or not torch.allclose(c, c.T):
            raise ValueError(f"a covariance is a symmetric matrix (D, D), got shape {tuple(c.shape)}.")
        variances, axes = torch.linalg.eigh(c)
        if not bool((variances > 0).all()):
            raise ValueError(
                f"a covariance is positive definite; the smallest eigenvalue of this one is {variances.min():.3g}."
            )
        centre = torch.as_tensor(mean, dtype=torch.float64)
        if centre.ndim and centre.shape != (len(c),):
            raise ValueError(
                f"the mean has shape {tuple(centre.shape)}; the covariance is of {len(c)} elements."
            )
        self.register_buffer("mean", centre.expand(len(c)).clone(), persistent=False)
        self.register_buffer("variances", variances, persistent=False)
        self.register_buffer("axes", axes, persistent=False)

    def check_shape(self, shape: Sequence[int]) -> None:
        size = math.prod(shape)
        if size != len(self.mean):
            raise ValueError(
                f"the Gaussian has {len(self.mean)} elements but a sample of shape {tuple(shape)} has {size}; "
                "give a covariance of that size or change the data's shape."
            )

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        # By the symmetric root of the covariance, which is one matrix; its eigenvectors are any machine's choice.
        root = (self.axes * self.variances.sqrt()) @ self.axes.T
        z = noise.normal(shape).flatten(1).double()
        return (self.mean + z @ root).to(noise.dtype).reshape(tuple(shape))

    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        along = (x.double().flatten(1) - self.mean) @ self.axes
        return -0.5 * (along.square() / self.variances + (2 * math.pi * self.variances).log()).sum(1)

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        refuse_unknown(cond, "none")
        m = self.process.marginal(self.process.time(labels))
        alpha, sigma = m.alpha[:, None], m.sigma[:, None]
        # alpha^2 C + sigma^2 in float64: where C is nearly singular its small eigenvalues decide.
        scale = -1 / (alpha**2 * self.variances + sigma**2)
        axes = self.axes.to(x.dtype)
        along = (x.flatten(1) - (alpha * self.mean).to(x.dtype)) @ axes
        return ((scale.to(x.dtype) * along) @ axes.T).reshape(x.shape)
