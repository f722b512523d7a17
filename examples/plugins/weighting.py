"""A weighting of the denoising loss that caps the signal-to-noise ratio (Min-SNR)."""

from dataclasses import dataclass
from typing import Annotated

from losses import Weighting, register_weighting
from sde_lib import GaussianProcess, Range


@register_weighting(name="capped_snr")
@dataclass(frozen=True)
class CappedSNR(Weighting[GaussianProcess]):
    """min(SNR, gamma) / SNR of the squared error in eps, SNR = alpha^2 / sigma^2 (Hang et al. 2023).

    Args:
        gamma: the signal-to-noise ratio above which times lose weight.
    """

    gamma: Annotated[float, Range(above=0)] = 5.0

    def weight(self, process, x, t, std):
        snr = process.marginal(t).log_snr.exp()
        return snr.clamp(max=self.gamma) / snr
