"""Data whose posterior given a linear measurement is known: Gaussians and mixtures on 4 x 4 pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.exact.correlated_gaussian import CorrelatedGaussianScore
from models.exact.mixtures import ExactScore, GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import Model, NoiseModel
from models.prediction.time_encoding import Time
from samplers import Constraint, PCSampler, register_corrector, register_predictor
from samplers.operators import LinearOperator, register_operator
from sde_lib import VPSDE, GaussianProcess, Noise, Process
from sde_lib.grids import LogSNR

SHAPE = (1, 4, 4)
SIZE = math.prod(SHAPE)
DATA = ("independent", "correlated", "mixture")
STD, COUNT = 0.5, 4096


@dataclass(frozen=True)
class Law:
    """sum_k weights_k N(means_k, covariances_k): (K,), (K, D), (K, D, D), float64."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    @property
    def mean(self) -> Tensor:
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        offsets = self.means - self.mean
        within = torch.einsum("k,kij->ij", self.weights, self.covariances)
        return within + torch.einsum("k,ki,kj->ij", self.weights, offsets, offsets)

    def given(self, matrix: Tensor, y: Tensor, noise_std: float) -> Law:
        """The law of x given y = M x + noise_std n: each mode conditioned, weighed by its evidence.

        Rows of M that are zero measure nothing and are left out.
        """
        seen = matrix.abs().sum(1) > 0
        m, y = matrix[seen], y[seen]
        means, covariances, evidence = [], [], []
        for mean, c in zip(self.means, self.covariances, strict=True):
            of_y = m @ c @ m.T + noise_std**2 * torch.eye(len(y), dtype=c.dtype)
            gain = torch.linalg.solve(of_y, m @ c).T
            surprise = y - m @ mean
            means.append(mean + gain @ surprise)
            covariances.append(c - gain @ m @ c)
            evidence.append(-0.5 * (surprise @ torch.linalg.solve(of_y, surprise) + of_y.logdet()))
        weights = (self.weights.log() + torch.stack(evidence)).softmax(0)
        return Law(weights, torch.stack(means), torch.stack(covariances))


def law(data: str) -> Law:
    """``independent``: N(0.2, 0.5^2 I). ``correlated``: covariance 0.5^2 exp(-distance / 2), mean 0.2.
    ``mixture``: three modes of standard deviation 0.25 around stripes, their negative, and a ramp.
    """
    eye = torch.eye(SIZE, dtype=torch.float64)
    if data == "mixture":
        stripes = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64).expand(4, 4).reshape(-1)
        ramp = torch.linspace(-1, 1, 4, dtype=torch.float64)[:, None].expand(4, 4).reshape(-1)
        means = 0.6 * torch.stack([stripes, -stripes, ramp])
        return Law(torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64), means, 0.25**2 * eye.expand(3, -1, -1))
    mean = torch.full((1, SIZE), 0.2, dtype=torch.float64)
    if data == "independent":
        return Law(torch.ones(1, dtype=torch.float64), mean, STD**2 * eye[None])
    place = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    covariance = STD**2 * (-torch.cdist(place, place) / 2).exp()
    return Law(torch.ones(1, dtype=torch.float64), mean, covariance[None])


def exact_score(data: str, process: Process) -> ExactScore:
    """The exact score of ``data``."""
    p = law(data)
    if data == "independent":
        return GaussianScore(process=process, mean=0.2, std=STD)
    if data == "correlated":
        return CorrelatedGaussianScore(process=process, mean=p.means[0], covariance=p.covariances[0])
    return GaussianMixtureScore(process=process, means=p.means, stds=0.25, weights=p.weights.tolist())


def model(data: str, process: Process) -> NoiseModel:
    """A model of ``data`` by its exact score."""
    return NoiseModel(exact_score(data, process), process, Time(process), "score")


def dense(operator: LinearOperator) -> Tensor:
    """The operator as a matrix (m, D) on vectors."""
    basis = torch.eye(SIZE, dtype=torch.float64).reshape(SIZE, *SHAPE)
    return operator.apply(basis).flatten(1).T


OPERATORS: dict[str, LinearOperator] = {
    "mask": register_operator["mask_half"](SHAPE),
    "downsample": register_operator["downsample"](SHAPE),
    "projection": register_operator["compressed_sensing"](SHAPE, measurements=6),
}


@dataclass(frozen=True)
class Errors:
    """Of the samples' mean and covariance, and what as many exact samples have of the second."""

    mean: float
    covariance: float
    floor: float


def floor(covariance: Tensor, count: int) -> float:
    """Expected error of the covariance of ``count`` exact samples."""
    effective = float(covariance.trace() ** 2 / covariance.square().sum())
    return math.sqrt((effective + 1) / count)


def errors(x: Tensor, mean: Tensor, covariance: Tensor) -> Errors:
    flat = x.double().flatten(1)
    return Errors(
        float((flat.mean(0) - mean).norm() / covariance.trace().sqrt()),
        float((torch.cov(flat.T) - covariance).norm() / covariance.norm()),
        floor(covariance, len(x)),
    )


@dataclass(frozen=True)
class Problem:
    """One measurement of one draw of the data, and its exact posterior."""

    data: str
    operator: LinearOperator
    noise_std: float
    process: GaussianProcess = field(default_factory=VPSDE)

    @property
    def model(self) -> Model:
        return model(self.data, self.process)

    @property
    def y(self) -> Tensor:
        x = exact_score(self.data, self.process).draw((1, *SHAPE), Noise(99, [0]))
        return self.operator.measure(x, Noise(98, [0]), self.noise_std)

    @property
    def measurements(self) -> Tensor:
        return self.y.expand(COUNT, *self.y.shape[1:])

    @property
    def posterior(self) -> Law:
        return law(self.data).given(dense(self.operator), self.y.double().flatten(), self.noise_std)

    @property
    def floor(self) -> float:
        return floor(self.posterior.covariance, COUNT)

    def sampler(
        self,
        model: Model,
        predictor: str,
        steps: int,
        corrector: str = "none",
        constraints: tuple[Constraint, ...] = (),
        **settings: Any,
    ) -> PCSampler:
        return PCSampler(
            model,
            register_predictor[predictor](),
            register_corrector[corrector](**settings),
            LogSNR().times(self.process, steps),
            constraints=constraints,
        )

    def errors(self, sampler: PCSampler, **cond: Tensor) -> Errors:
        x = sampler.sample((COUNT, *SHAPE), Noise(0, range(COUNT)), **cond).x
        return errors(x, self.posterior.mean, self.posterior.covariance)
