"""Flow matching: straight and cosine paths from data to noise."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from sde_lib.base import GaussianSDE, Marginal, register_sde
from sde_lib.rates import PathRates, Rates
from sde_lib.settings import Range


class Path(abc.ABC):
    """How data become noise as t goes from 0 to 1; every method takes times of any shape, float64."""

    @abc.abstractmethod
    def marginal(self, t: Tensor) -> Marginal:
        """alpha, which is exactly 0 at t = 1, and sigma."""

    @abc.abstractmethod
    def path_rates(self, t: Tensor) -> PathRates:
        """alpha' and sigma'."""

    @abc.abstractmethod
    def rates(self, t: Tensor) -> Rates:
        """alpha'/alpha and g, g^2 = 2 sigma (sigma' - sigma alpha'/alpha); infinite at t = 1."""

    @abc.abstractmethod
    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        """The time of a sigma/alpha, which may be 0 or infinite."""


class Straight(Path):
    """alpha = 1 - t, sigma = t (Liu et al. 2023; Lipman et al. 2023, with sigma_min = 0)."""

    def marginal(self, t: Tensor) -> Marginal:
        return Marginal(1 - t, t.clone())

    def path_rates(self, t: Tensor) -> PathRates:
        return PathRates(-torch.ones_like(t), torch.ones_like(t))

    def rates(self, t: Tensor) -> Rates:
        return Rates(-1 / (1 - t), (2 * t / (1 - t)).sqrt())

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        return 1 / (1 + 1 / noise_to_signal)


class CosinePath(Path):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2) (Albergo & Vanden-Eijnden 2023, "GVP" of Ma et al. 2024)."""

    turn = math.pi / 2

    def marginal(self, t: Tensor) -> Marginal:
        # The sine of what is left of the quarter turn is exactly 0 at its end, where the cosine is 6e-17.
        return Marginal(torch.sin(self.turn * (1 - t)), torch.sin(self.turn * t))

    def path_rates(self, t: Tensor) -> PathRates:
        return PathRates(-self.turn * torch.sin(self.turn * t), self.turn * torch.sin(self.turn * (1 - t)))

    def rates(self, t: Tensor) -> Rates:
        growth = -self.turn * torch.sin(self.turn * t) / torch.sin(self.turn * (1 - t))
        return Rates(growth, (-2 * growth).sqrt())

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        return torch.atan(noise_to_signal) / self.turn


PATHS: dict[str, Path] = {"straight": Straight(), "cosine": CosinePath()}


@register_sde(name="flow")
@dataclass(frozen=True)
class Flow(GaussianSDE):
    """x_t = alpha_t x_0 + sigma_t eps from data at t = 0 to pure noise at t = 1 (Liu et al. 2023; Ma et al. 2024).

    Its SDE, dx = (alpha'/alpha) x dt + g dw, has these marginals (Ma et al. 2024, eq. 5, in our direction of time).
    At t = 1 alpha is 0: the velocity alpha' x_0 + sigma' eps and x_0 have a value there, while x_0 has none that
    follows from eps, the drift is infinite and Langevin's steps have length 0. Methods that divide by alpha start at
    ``signal_start``.

    Args:
        path: ``straight``, alpha = 1 - t and sigma = t, or ``cosine``, alpha = cos(pi t / 2) and sigma = sin(pi t / 2).
        N: number of levels of the reference discretisation, which enters Langevin's step size alone.
        signal_start: where methods start that divide by alpha. The prior is a little too wide there, by 1 - sigma.
        time_from: where networks count time from: ``data``, as here, or ``noise``, as Lipman et al. (2023) and SiT do,
            whose networks are told 1 - t and give the velocity from noise to data.
        label_scale: factor of the time that networks are told; 1 for SiT, 1000 for Stable Diffusion 3.
        t_min: the smallest time at which the network is trained and at which likelihoods are read.
        t_end: the smallest time at which samplers evaluate the network.
    """

    path: Literal["straight", "cosine"] = "straight"
    N: Annotated[int, Range(least=1)] = 1000
    signal_start: Annotated[float, Range(above=0, below=1)] = 0.9995
    time_from: Literal["data", "noise"] = "data"
    label_scale: Annotated[float, Range(above=0)] = 999.0
    t_min: Annotated[float, Range(least=0, below=1)] = 1e-5
    t_end: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not max(self.t_min, self.t_end) < self.signal_start:
            raise ValueError(
                f"flow goes from t_min and t_end up to signal_start; got {self.t_min}, {self.t_end} and "
                f"{self.signal_start}."
            )

    def marginal(self, t: Tensor) -> Marginal:
        return PATHS[self.path].marginal(t.double())

    def path_rates(self, t: Tensor) -> PathRates:
        return PATHS[self.path].path_rates(t.double())

    def rates(self, t: Tensor) -> Rates:
        return PATHS[self.path].rates(t.double())

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        return PATHS[self.path].time_of(noise_to_signal.double())
