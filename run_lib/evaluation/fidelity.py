"""How near one image is to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

WINDOW = 7  # pixels, of SSIM


@dataclass(frozen=True)
class Fidelity:
    """Of an image to the truth.

    Attributes:
        psnr: peak signal-to-noise ratio in dB, the peak being white; None: the two are the same.
        ssim: structural similarity (Wang et al. 2004), means over 7x7 windows; None: the image is smaller than that.
    """

    psnr: float | None
    ssim: float | None


def fidelity(image: Tensor, truth: Tensor) -> Fidelity:
    """Of intensities (C, H, W) in [0, 1], by scikit-image."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    a, b = (x.cpu().double().clamp(0, 1).numpy() for x in (image, truth))
    psnr = None if np.array_equal(a, b) else float(peak_signal_noise_ratio(b, a, data_range=1))
    if min(a.shape[1:]) < WINDOW:
        return Fidelity(psnr, None)
    return Fidelity(psnr, float(structural_similarity(b, a, data_range=1, channel_axis=0, win_size=WINDOW)))


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are there; None if none is."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
