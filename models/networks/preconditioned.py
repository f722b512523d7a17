"""A denoiser from a network: the form that EDM gives every preconditioning."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.base import Network, OutputKind, TimeLabel
from sde_lib.base import coefficients
from sde_lib.timetable import tabulated_time


@dataclass(frozen=True)
class Preconditioning:
    """The coefficients of D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), each shaped like sigma."""

    skip: Tensor
    out: Tensor
    scale_in: Tensor
    noise: Tensor


class Preconditioned(Network):
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise): a denoiser from a network F (Karras et al. 2022, eq. 7).

    For processes that do not scale their data (``edm``, ``vesde``); fed sigma, it gives the clean data. Networks that
    take the logarithm of their labels are fed exp(c_noise), so that all of them embed c_noise. Channels of F beyond
    those of the state, such as learned variances, follow those of the data as they are.

    Args:
        network: F.

    Raises:
        ValueError: F's output has a meaning of its own already (it divides it by sigma, or its kind is fixed), or F
            takes the logarithm of its labels and c_noise is the index of a level.
    """

    output_kind: ClassVar[OutputKind] = "x0"
    time_label: ClassVar[TimeLabel] = "sigma"
    of_index: ClassVar[bool] = False
    """Whether c_noise counts levels: its exponential overflows."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        if network.output_kind is not None:
            raise ValueError(
                f"{type(network).__name__} outputs {network.output_kind} whatever wraps it; EDM's "
                "preconditioning needs a network to train: leave model.preconditioning unset."
            )
        if getattr(network, "scale_by_sigma", False) or getattr(network, "sigmas", None) is not None:
            raise ValueError(
                f"{type(network).__name__} divides its output by sigma, which EDM's preconditioning does "
                "already; set scale_by_sigma=False."
            )
        if self.of_index and network.log_labels:
            raise ValueError(
                f"{type(network).__name__} embeds the logarithm of its labels, and this preconditioning feeds it the "
                "index of a level: take a network that embeds the label itself, such as edm_ddpmpp or edm_adm."
            )
        self.network, self.has_log_variance = network, network.has_log_variance
        self.keeps_nothing, self.unit_weights = network.keeps_nothing, network.unit_weights

    @abc.abstractmethod
    def coefficients(self, sigma: Tensor) -> Preconditioning:
        """c_skip, c_out, c_in and c_noise at noise levels sigma > 0, (B,)."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        """The denoised data; ``labels`` (B,) are sigma > 0."""
        c = coefficients(x, self.coefficients, labels)
        output = self.network(c.scale_in * x, tabulated_time(self._told, labels), **cond)
        residual, further = output[:, : x.shape[1]], output[:, x.shape[1] :]
        denoised = c.skip * x + c.out * residual
        return torch.cat([denoised, further], dim=1) if further.shape[1] else denoised

    def _told(self, labels: Tensor) -> Tensor:
        noise = self.coefficients(labels).noise
        return noise.exp() if self.network.log_labels else noise

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape that the network inside refuses."""
        self.network.check_shape(shape)

    def constrain(self) -> None:
        self.network.constrain()

    def log_variance(self, labels: Tensor) -> Tensor | None:
        """What the network inside has learned of its own error, u(sigma) (B,); ``labels`` are sigma."""
        return self.network.log_variance(self._told(labels))

    def train_log_variance(self) -> None:
        self.network.train_log_variance()

    def apart(self) -> Iterable[nn.Parameter]:
        return self.network.apart()
