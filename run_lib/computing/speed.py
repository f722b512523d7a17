"""How fast a device is at what networks do, found in a fraction of a second."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F

SECONDS = 0.2
"""For which it is measured."""


@torch.no_grad()
def flop_rate(device: torch.device) -> float:
    """FLOP/s of a convolution in float32, the best of some: 64 channels to 64, 3x3, at 32x32 pixels."""
    x = torch.ones(8, 64, 32, 32, device=device)
    kernel = torch.ones(64, 64, 3, 3, device=device)
    flop = 2 * x.numel() * kernel[0].numel()
    best, begun = 0.0, time.perf_counter()
    F.conv2d(x, kernel, padding=1)  # what is made at first is not measured
    while time.perf_counter() - begun < SECONDS or not best:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        F.conv2d(x, kernel, padding=1)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, flop / max(time.perf_counter() - started, 1e-9))
    return best
