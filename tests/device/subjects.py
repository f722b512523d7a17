"""What runs on every device: processes of every kind, and a model with an exact score of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from models.exact.mixtures import GaussianMixtureScore
from models.prediction.noise_model import Model, NoiseModel, Prediction
from models.prediction.time_encoding import Time
from run_lib.computing.placement import Placement
from sde_lib import SDE, VESDE, VPSDE, Coefficients, Noise, Process, subVPSDE
from sde_lib.base import GaussianSDE, Marginal
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.edm import EDM
from sde_lib.flow import Flow
from sde_lib.schedules import geometric_sigmas, linear_betas

Work: TypeAlias = Callable[[torch.device], Tensor]
"""Something that the project does, on a device: its result, which lies there."""
SHAPE = (3, 2)
MEANS = [[0.8, -0.3], [-0.6, 0.5]]
STDS = [0.3, 0.4]
LEVELS = 40


def _straight_line() -> Tensor:
    return torch.linspace(0, 1, 33, dtype=torch.float64)


@dataclass(frozen=True)
class Tabulated(GaussianSDE):
    """alpha = 1 and sigma linear between the entries of a table, which is a plain tensor: a process of a user's."""

    table: Tensor = field(default_factory=_straight_line)
    t_min = 0.1
    t_end = 0.1

    @property
    def device(self) -> torch.device:
        return self.table.device

    def marginal(self, t: Tensor) -> Marginal:
        place = t.double() * (len(self.table) - 1)
        below = place.detach().long().clamp(0, len(self.table) - 2)
        sigma = torch.lerp(self.table[below], self.table[below + 1], place - below)
        return Marginal(torch.ones_like(sigma), sigma)


class NoMarginal(SDE):
    """dx = -x/2 dt + dw, of which no more is said than an SDE must say."""

    def sde(self, x: Tensor, t: Tensor) -> Coefficients:
        return Coefficients(-0.5 * x, torch.ones_like(t))

    def prior_sampling(self, shape: tuple[int, ...], noise: Noise) -> Tensor:
        return noise.normal(shape)

    def prior_logp(self, z: Tensor) -> Tensor:
        return -0.5 * z.double().square().flatten(1).sum(1)


def ddpm() -> DiscreteDiffusion:
    return DiscreteDiffusion.ddpm(linear_betas(LEVELS))


PROCESSES: dict[str, Callable[[], Process]] = {
    "vpsde": VPSDE,
    "subvpsde": subVPSDE,
    "vesde": VESDE,
    "edm": EDM,
    "flow": Flow,
    "ddpm": ddpm,
    "smld": lambda: DiscreteDiffusion.smld(geometric_sigmas(LEVELS)),
    "interpolated": lambda: InterpolatedChain(ddpm()),
    "tabulated": Tabulated,
    "no_marginal": NoMarginal,
}
"""Built anew for each work: modules are moved where they are."""


class Standard(Model[SDE]):
    """-x, the score of a standard normal, as a model of a process that has no marginal."""

    def __init__(self, process: SDE) -> None:
        super().__init__()
        self.process, self.calls = process, 0

    @property
    def nfe(self) -> int:
        return self.calls

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor) -> Prediction:
        self.calls += 1
        return Prediction(x, None, None, -x, "score")


def mixture(process: Process, classes: int | None = None) -> GaussianMixtureScore:
    return GaussianMixtureScore(process=process, means=MEANS, stds=STDS, num_classes=classes)


def model_on(device: torch.device, name: str, classes: int | None = None) -> Model:
    """The model of a process, made on the CPU and placed as a plan is."""
    process = PROCESSES[name]()
    if name == "no_marginal":
        return Placement(device).place(Standard(process))
    return Placement(device).place(NoiseModel(mixture(process, classes), process, Time(process), "score"))


def noise_on(device: torch.device, count: int = SHAPE[0], seed: int = 0) -> Noise:
    return Noise(seed, range(count), device)
