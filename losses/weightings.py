"""Weightings of the denoising loss over time, as factors of the squared error in eps."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, Generic

import torch
from torch import Tensor

from sde_lib.base import SDE, GaussianProcess, Process
from sde_lib.needs import NeededProcess, declare_needs
from sde_lib.registry import Registry
from sde_lib.settings import check_settings


class Weighting(abc.ABC, Generic[NeededProcess]):
    """A factor of |eps error|^2 at each time. ``needs`` is the kind of process that it works with."""

    needs: ClassVar[type] = Process

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declare_needs(cls)

    def __post_init__(self) -> None:
        check_settings(self)

    @abc.abstractmethod
    def weight(self, process: NeededProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        """The factor at ``t``, (B,), float64.

        Args:
            process: the forward process.
            x: noisy states, (B, ...).
            t: their times, (B,).
            std: of the noise whose score is the target, (B,): |score error|^2 = |eps error|^2 / std^2.
        """


def noise_to_signal(process: GaussianProcess, t: Tensor) -> Tensor:
    """sigma^2 / alpha^2 at ``t``, (B,): an error in x_0 is so many times that in eps, squared.

    Where nothing is left of the data, and eps has no error, that of the last time that has some.
    """
    return (-process.marginal(t.clamp(max=process.signal_start)).log_snr).exp()


register_weighting: Registry[Weighting] = Registry("loss weighting")


@register_weighting(name="eps")
@dataclass(frozen=True)
class EpsWeighting(Weighting[Process]):
    """One: the simple loss (Ho et al. 2020, eq. 14), sigma^2 times score matching."""

    def weight(self, process: Process, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return torch.ones_like(std)


@register_weighting(name="likelihood")
@dataclass(frozen=True)
class LikelihoodWeighting(Weighting[SDE]):
    """g^2 / std^2: score matching weighted by g^2 bounds the likelihood (Song et al. 2021b, theorem 1)."""

    def weight(self, process: SDE, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return (process.sde(x, t).diffusion / std) ** 2


@register_weighting(name="x0")
@dataclass(frozen=True)
class DataWeighting(Weighting[GaussianProcess]):
    """sigma^2 / alpha^2: the squared error of the predicted data."""

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return noise_to_signal(process, t)


@register_weighting(name="v")
@dataclass(frozen=True)
class VelocityWeighting(Weighting[GaussianProcess]):
    """(alpha^2 + sigma^2) / alpha^2: the squared error of the velocity (Salimans & Ho 2022, section 4)."""

    def weight(self, process: GaussianProcess, x: Tensor, t: Tensor, std: Tensor) -> Tensor:
        return 1 + noise_to_signal(process, t)
