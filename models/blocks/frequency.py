"""FreeU: re-weighting of a U-Net's skip connections and backbone at inference.

Si, Huang, Jiang and Liu, "FreeU: free lunch in diffusion U-Net" (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def scale_low_frequencies(h: Tensor, scale: float, threshold: int = 1) -> Tensor:
    """Multiply the lowest spatial frequencies of every channel by ``scale`` (eqs. 6 to 8).

    ``h' = Re IFFT(FFT(h) * beta)``, ``beta = scale`` where each axis' frequency index lies in
    ``[-threshold, threshold)`` and 1 elsewhere. This block, not the disc of the paper's eq. 8, is what
    the authors' program and the published strengths use.

    Args:
        h: (B, C, ...), real; any number of spatial axes.

    Returns:
        the same shape and dtype.
    """
    axes = tuple(range(2, h.ndim))
    dtype = torch.promote_types(h.dtype, torch.float32)  # there is no half-precision FFT of odd sizes
    spectrum = torch.fft.fftn(h.to(dtype), dim=axes)
    mask = torch.ones((), dtype=dtype, device=h.device)
    for axis in axes:
        n = h.shape[axis]
        index = torch.arange(n, device=h.device)
        low = (index < threshold) | (index >= n - threshold)
        mask = mask * low.to(dtype).reshape(-1, *(1,) * (h.ndim - 1 - axis))
    change: Tensor = torch.fft.ifftn(spectrum * mask, dim=axes).real
    return h + ((scale - 1) * change).to(h.dtype)


def amplify_backbone(h: Tensor, scale: float) -> Tensor:
    """Amplify the first half of the channels where the feature map is strong (eqs. 4 and 5).

    ``alpha = (scale - 1) * (m - min m) / (max m - min m) + 1`` with m the mean over channels, and
    ``h_i' = alpha h_i`` for i < C / 2. A constant map has no structure and is left as it is.

    Args:
        h: (B, C, ...).
    """
    mean = h.mean(dim=1, keepdim=True)
    axes = tuple(range(2, h.ndim))
    low, high = mean.amin(dim=axes, keepdim=True), mean.amax(dim=axes, keepdim=True)
    spread = (high - low).clamp_min(torch.finfo(h.dtype).tiny)
    alpha = (scale - 1) * (mean - low) / spread + 1
    half = h.shape[1] // 2
    return torch.cat([h[:, :half] * alpha, h[:, half:]], dim=1)


class FreeU:
    """FreeU's factors for each level of a decoder, from the lowest resolution up; other levels are unchanged.

    Args:
        backbone: factors ``b`` of the decoder's features; 1 leaves them untouched.
        skip: factors ``s`` of the skip connections' low frequencies; 1 leaves them untouched.
        levels: how many levels the decoder has.

    Raises:
        ValueError: more factors than levels.
    """

    def __init__(self, *, backbone: Sequence[float], skip: Sequence[float], levels: int) -> None:
        for name, factors in (("freeu_backbone", backbone), ("freeu_skip", skip)):
            if len(factors) > levels:
                raise ValueError(
                    f"{name} has {len(factors)} factors, the network {levels} levels; give at most one per "
                    f"level, from the smallest size up."
                )
        self.backbone = (*map(float, backbone), *(1.0,) * (levels - len(backbone)))
        self.skip = (*map(float, skip), *(1.0,) * (levels - len(skip)))

    def features(self, h: Tensor, level: int) -> Tensor:
        """The backbone's features at a level, before they are joined."""
        return h if self.backbone[level] == 1.0 else amplify_backbone(h, self.backbone[level])

    def connection(self, skip: Tensor, level: int) -> Tensor:
        """The skip connection at a level, before it is joined."""
        return skip if self.skip[level] == 1.0 else scale_low_frequencies(skip, self.skip[level])
