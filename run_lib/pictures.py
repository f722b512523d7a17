"""Pictures of samples: grids of images, scatter plots, PNG and GIF files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from run_lib.data.levels import DataSpec
from run_lib.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST = 48  # pixels on the longer side of a sample in a picture; smaller ones are enlarged


MOST_PIXELS = 89_478_485
"""Of a picture: Pillow reads no more without a warning."""
MOST_POINTS = 10**6
"""Of a scatter plot."""
_MARGIN, _GREY = 2, 128


def pixels_of_picture(count: int, shape: tuple[int, ...]) -> int:
    """Pixels of the picture of so many images of shape (C, H, W)."""
    columns = math.isqrt(count - 1) + 1 if count > 0 else 1
    rows, zoom = math.ceil(count / columns), _zoom(shape[-2:])
    height, width = (
        n * (side * zoom + _MARGIN) + _MARGIN for n, side in ((rows, shape[-2]), (columns, shape[-1]))
    )
    return height * width


def _zoom(size: Sequence[int]) -> int:
    return max(1, SMALLEST // max(size))


def picture(samples: Tensor, data: DataSpec) -> np.ndarray:
    """A picture of samples, uint8 (H, W, 3): images in a square grid, other data as a scatter plot."""
    if len(data.shape) == 3:
        return _image_grid(samples, data)
    return _scatter(samples)


def _image_grid(samples: Tensor, data: DataSpec) -> np.ndarray:
    return _framed(_intensities(samples, data), math.ceil(math.sqrt(len(samples))))


def row_of_images(samples: Tensor, data: DataSpec) -> np.ndarray:
    """A picture of images side by side, uint8 (H, W, 3)."""
    return _framed(_intensities(samples, data), len(samples))


def _intensities(samples: Tensor, data: DataSpec) -> Tensor:
    x = samples.cpu().float()
    if data.levels:
        return x / (data.levels - 1)
    low, high = float(x.min()), float(x.max())
    return (x - low) / max(high - low, 1e-12)


def rows_of_images(rows: Sequence[Sequence[Tensor]]) -> np.ndarray:
    """A picture, uint8 (H, W, 3), of rows of images of one size, intensities (C, H, W). Shorter rows end in grey."""
    columns = max(len(row) for row in rows)
    blank = torch.full_like(rows[0][0], 0.5)
    x = torch.stack([image for row in rows for image in (*row, *[blank] * (columns - len(row)))])
    return _framed(x.cpu().float().clamp(0, 1), columns)


def _framed(x: Tensor, columns: int) -> np.ndarray:
    """Intensities (B, C, H, W) in a grid, small ones enlarged without smoothing."""
    from torchvision.utils import make_grid  # takes as long to import as all of torch

    x = x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)
    zoom = _zoom(x.shape[-2:])
    # As bytes from here on: a large picture of floats takes four times the memory.
    x = (x * 255).round().byte().repeat_interleave(zoom, -1).repeat_interleave(zoom, -2)
    return make_grid(x, nrow=columns, padding=_MARGIN, pad_value=_GREY).permute(1, 2, 0).numpy()


def drawn_figure(figure: Figure) -> np.ndarray:
    """A figure of matplotlib's, uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _scatter(samples: Tensor) -> np.ndarray:
    from matplotlib.figure import Figure

    points = samples.cpu().flatten(1).numpy()
    figure = Figure(figsize=(5, 5), dpi=100)
    axes = figure.add_subplot(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
    axes.scatter(points[:, 0], points[:, 1] if points.shape[1] > 1 else np.zeros(len(points)), s=6, alpha=0.6)
    return drawn_figure(figure)


def eight_bits(intensity: Tensor) -> np.ndarray:
    """Intensities (C, H, W) in [0, 1] of 1 or 3 channels to uint8, (H, W) or (H, W, 3), clipped and rounded."""
    pixels = (intensity.cpu().clamp(0, 1) * 255).round().byte()
    return pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Write (H, W, 3) or (H, W) uint8 losslessly."""
    with atomic(path) as partial:
        Image.fromarray(pixels).save(partial, format="PNG")


def save_gif(frames: Sequence[np.ndarray], path: Path, milliseconds: int = 80) -> None:
    """Write frames as an animation that rests on its last one."""
    images = [Image.fromarray(f) for f in frames]
    durations = [milliseconds] * (len(images) - 1) + [20 * milliseconds]
    with atomic(path) as partial:
        images[0].save(
            partial, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
        )


def to_tensorboard(pixels: np.ndarray) -> Tensor:
    """The picture (H, W, 3) as TensorBoard takes it, uint8 (3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)
