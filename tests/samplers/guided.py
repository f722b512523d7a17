"""A mixture whose conditional densities are Gaussians: what guidance must give is known in closed form."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.base import Network
from models.exact.mixtures import GaussianMixtureScore, MixtureClassifier
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import GaussianProcess, Noise, Process
from tests.oracles import Case

MEANS = [[0.8, -0.3], [-0.6, 0.5], [0.1, 0.9]]
STDS = [0.2, 0.35, 0.5]
WEIGHTS = [0.5, 0.3, 0.2]
NULL = len(MEANS)
F64 = partial(torch.tensor, dtype=torch.float64)


def mixture(process: Process, classes: int | None = None) -> GaussianMixtureScore:
    return GaussianMixtureScore(process=process, means=MEANS, stds=STDS, weights=WEIGHTS, num_classes=classes)


def unconditional(process: Process) -> NoiseModel:
    """Knows the whole mixture and no classes."""
    return NoiseModel(mixture(process), process, Time(process), "score")


def conditional(process: Process) -> NoiseModel:
    """Told the mode, or by the label 3 that it is any."""
    return NoiseModel(mixture(process, NULL + 1), process, Time(process), "score")


def classifier(process: Process) -> MixtureClassifier:
    return MixtureClassifier(mixture(process))


class OneMode(Network):
    """The score of mode ``y`` by the single Gaussian's formula: -(x - alpha mu_y) / (alpha^2 c_y^2 + sigma^2)."""

    time_label: ClassVar[str] = "time"

    def __init__(self, process: GaussianProcess) -> None:
        super().__init__()
        self.process = process

    def forward(self, x: Tensor, labels: Tensor, *, y: Tensor | None = None, **cond: Any) -> Tensor:
        assert y is not None
        m = self.process.marginal(self.process.time(labels))
        centre, width = F64(MEANS)[y], F64(STDS)[y]
        score = (m.alpha[:, None] * centre - x) / ((m.alpha * width) ** 2 + m.sigma**2)[:, None]
        return score.to(x.dtype)


def mode(process: GaussianProcess) -> NoiseModel:
    """The model of each sample's mode alone."""
    return NoiseModel(OneMode(process), process, Time(process), "score")


def mode_score(case: Case, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """(alpha mu_y - x) / (alpha^2 c_y^2 + sigma^2), in the oracle's numbers."""
    a = torch.tensor([case.oracle.alpha(float(v)) for v in t], dtype=torch.float64)[:, None]
    s = torch.tensor([case.oracle.sigma(float(v)) for v in t], dtype=torch.float64)[:, None]
    centre, width = F64(MEANS)[y], F64(STDS)[y][:, None]
    return (a * centre - x) / ((a * width) ** 2 + s**2)


def mixture_score(case: Case, x: Tensor, t: Tensor) -> Tensor:
    """The derivative of the mixture's log-density, by torch.distributions."""
    a = torch.tensor([case.oracle.alpha(float(v)) for v in t], dtype=torch.float64)
    s = torch.tensor([case.oracle.sigma(float(v)) for v in t], dtype=torch.float64)
    spread = ((a[:, None] * F64(STDS)) ** 2 + s[:, None] ** 2).sqrt()[:, :, None]
    modes = torch.distributions.Normal(a[:, None, None] * F64(MEANS), spread)
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(F64(WEIGHTS)),
        torch.distributions.Independent(modes, 1),
    )
    at = x.detach().requires_grad_()
    return torch.autograd.grad(law.log_prob(at).sum(), at)[0]


def states(case: Case, shares: tuple[float, ...] = (0.01, 0.2, 0.5, 0.8)) -> tuple[Tensor, Tensor]:
    """Four states of the right size and their times, in shares of the process's."""
    times = torch.tensor([u * case.oracle.start for u in shares], dtype=torch.float64)
    t = case.process.time(times.round() if case.oracle.start > 1 else times)
    size = torch.tensor([0.5 + case.oracle.sigma(float(v)) for v in t], dtype=torch.float64)[:, None]
    return size * Noise(0, range(4), dtype=torch.float64).normal((4, 2)), t
