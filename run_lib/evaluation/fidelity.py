"""The fidelity of an image to another: PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

WINDOW = 7  # pixels, of SSIM


@dataclass(frozen=True)
class Fidelity:
    """How near an image is to the true one.

    Attributes:
        psnr: peak signal-to-noise ratio in dB, with white as the peak; None where the two images are equal.
        ssim: mean structural similarity over windows of 7x7 (Wang et al. 2004, eq. 13); None where the image is
            smaller than a window.
    """

    psnr: float | None
    ssim: float | None


def fidelity(image: Tensor, truth: Tensor) -> Fidelity:
    """PSNR and SSIM of an image, by scikit-image. Both are intensities (C, H, W) in [0, 1], and are clipped to it."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    a, b = (x.cpu().double().clamp(0, 1).numpy() for x in (image, truth))
    psnr = None if np.array_equal(a, b) else float(peak_signal_noise_ratio(b, a, data_range=1))
    if min(a.shape[1:]) < WINDOW:
        return Fidelity(psnr, None)
    return Fidelity(psnr, float(structural_similarity(b, a, data_range=1, channel_axis=0, win_size=WINDOW)))


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None; None if all are."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
