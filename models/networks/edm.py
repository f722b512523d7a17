"""EDM's preconditioning: a wrapper that lets any network work at unit variance at every noise level."""

from __future__ import annotations

from typing import final

from torch import Tensor

from models.base import Network
from models.networks.preconditioned import Preconditioned, Preconditioning


@final
class EDMPreconditioned(Preconditioned):
    """c_skip = d^2 / (s^2 + d^2), c_out = s d / sqrt(s^2 + d^2), c_in = 1 / sqrt(s^2 + d^2), c_noise = ln(s) / 4.

    With the data's standard deviation d, input and target of the network have unit variance at every noise level s,
    and c_out, which amplifies its errors, is least (Karras et al. 2022, table 1; derived in appendix B.6). See
    ``Preconditioned``.

    Args:
        network: F, with as many output channels as its data have, or more.
        sigma_data: standard deviation of the data; 0.5 for images in [-1, 1].

    Raises:
        ValueError: sigma_data is not positive; as ``Preconditioned``.
    """

    def __init__(self, network: Network, *, sigma_data: float = 0.5) -> None:
        super().__init__(network)
        if not sigma_data > 0:
            raise ValueError(
                f"sigma_data is the data's standard deviation, a positive number; got {sigma_data}."
            )
        self.sigma_data = sigma_data

    def coefficients(self, sigma: Tensor) -> Preconditioning:
        variance = sigma**2 + self.sigma_data**2
        return Preconditioning(
            skip=self.sigma_data**2 / variance,
            out=sigma * self.sigma_data * variance.rsqrt(),
            scale_in=variance.rsqrt(),
            noise=sigma.log() / 4,
        )
