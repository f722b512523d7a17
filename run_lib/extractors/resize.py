"""Resizing as papers do it: each filter is, bit for bit, that of the program that its words name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Filter:
    """A way to resize images.

    Attributes:
        apply: levels of 8 bits (B, C, H, W), uint8, and the size S -> levels (B, C, S, S), float32.
        words: what it is, for a protocol.
    """

    apply: Callable[[Tensor, int], Tensor]
    words: str


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """TensorFlow 1's bilinear resizing, which has no antialiasing and whose corners lie off the image's.

    The value at i is that of the image at i H / S, between its two neighbours in float32; nothing is rounded.
    """
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    found: Tensor = interpolate_bilinear_2d_like_tensorflow1x(
        images.float(), size=(size, size), align_corners=False
    )
    return found


def clean_bicubic(images: Tensor, size: int) -> Tensor:
    """Pillow's antialiased bicubic of each channel in float32, clipped to the range (Parmar et al. 2022)."""
    from PIL import Image

    planes = images.cpu().float().numpy().reshape(-1, *images.shape[2:])
    resized = [
        np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC)) for plane in planes
    ]
    found = np.stack(resized).clip(0, 255).reshape(*images.shape[:2], size, size)
    return torch.from_numpy(found).to(images.device)


def pil_bicubic(images: Tensor, size: int) -> Tensor:
    """Pillow's antialiased bicubic of images of 8 bits, which are rounded to 8 bits."""
    from PIL import Image

    pictures = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    resized = [
        np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC)) for one in pictures
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float().contiguous().to(images.device)


def torch_bicubic(images: Tensor, size: int) -> Tensor:
    """PyTorch's antialiased bicubic in float32; overshoots are not clipped."""
    return torch.nn.functional.interpolate(images.float(), size=(size, size), mode="bicubic", antialias=True)


FILTERS = {
    "tf1": Filter(tf1_bilinear, "bilinear of TensorFlow 1, not antialiased"),
    "clean": Filter(clean_bicubic, "Pillow's bicubic of each channel in float32, clipped (clean-fid)"),
    "pil": Filter(pil_bicubic, "Pillow's bicubic, rounded to 8 bits"),
    "torch": Filter(torch_bicubic, "PyTorch's antialiased bicubic in float32"),
}
"""By the name that a setting has."""
