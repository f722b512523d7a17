"""EDM's preconditioning: a wrapper that lets any network work at unit variance at every noise level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

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


def preconditioning(sigma: Tensor, sigma_data: float) -> Preconditioning:
    """EDM's preconditioning coefficients (Karras et al. 2022, table 1; derived in appendix B.6).

    They give the input and the training target of F unit variance for data of standard deviation
    ``sigma_data``, with c_skip chosen so that c_out, which amplifies F's errors, is least.
    """
    variance = sigma**2 + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / variance,
        out=sigma * sigma_data * variance.rsqrt(),
        scale_in=variance.rsqrt(),
        noise=sigma.log() / 4,
    )


@final
class EDMPreconditioned(Network):
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise): a denoiser from any network F.

    For processes that do not scale their data (``edm``, ``vesde``); fed sigma, it gives the clean data.
    Networks that take the logarithm of their labels are fed exp(c_noise), so that all of them embed c_noise.

    Args:
        network: F, with as many output channels as its data have.
        sigma_data: standard deviation of the data; 0.5 for images in [-1, 1].

    Raises:
        ValueError: sigma_data is not positive, or F's output is no residual of unit variance (it divides it
            by sigma, or its kind is fixed).
    """

    output_kind: ClassVar[OutputKind] = "x0"
    time_label: ClassVar[TimeLabel] = "sigma"

    def __init__(self, network: Network, *, sigma_data: float = 0.5) -> None:
        super().__init__()
        if not sigma_data > 0:
            raise ValueError(
                f"sigma_data is the data's standard deviation, a positive number; got {sigma_data}."
            )
        if network.output_kind is not None:
            raise ValueError(
                f"{type(network).__name__} outputs {network.output_kind} whatever wraps it; EDM's "
                "preconditioning needs a network to train."
            )
        if getattr(network, "scale_by_sigma", False) or getattr(network, "sigmas", None) is not None:
            raise ValueError(
                f"{type(network).__name__} divides its output by sigma, which EDM's preconditioning does "
                "already; set scale_by_sigma=False."
            )
        self.network = network
        self.sigma_data = sigma_data

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        """The denoised data; ``labels`` (B,) are sigma > 0."""
        c = coefficients(x, self._at, labels)
        residual = self.network(c.scale_in * x, tabulated_time(self._told, labels), **cond)
        return c.skip * x + c.out * residual

    def _at(self, labels: Tensor) -> Preconditioning:
        return preconditioning(labels, self.sigma_data)

    def _told(self, labels: Tensor) -> Tensor:
        noise = self._at(labels).noise
        return noise.exp() if self.network.log_labels else noise

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse a sample shape that the network inside refuses."""
        self.network.check_shape(shape)
