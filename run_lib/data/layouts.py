"""Where the channels of an array of images are: last, as the field's files have them, or first, as torch has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from run_lib.data.rows import Indices, OfOthers, Rows

CHANNELS = (1, 3)
"""Of images, grey or in colour."""


@dataclass(frozen=True)
class ChannelsFirst(OfOthers):
    """Images whose files have the channels last (H, W, C), as (C, H, W)."""

    rows: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        height, width, channels = self.rows.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Indices) -> Tensor:
        return self.rows.read(indices).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class OneChannel(OfOthers):
    """Grey images (H, W), as (1, H, W)."""

    rows: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, *self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Indices) -> Tensor:
        return self.rows.read(indices)[:, None]


def has_channels_last(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether images of the shape ``found`` are (H, W, C), where data of the shape ``wanted``, (C, H, W), are read.

    Where both fit, they are: that is how samples are written. Images of another size than the data's are told by
    their last axis.
    """
    if len(wanted) != 3 or len(found) != 3:
        return False
    channels, *size = wanted
    return found == (*size, channels) or (found != wanted and found[-1] == channels)


def as_written(samples: np.ndarray) -> np.ndarray:
    """Samples as files of ours have them: images (B, C, H, W) with their channels last, others as they are."""
    return samples.transpose(0, 2, 3, 1) if samples.ndim == 4 else samples


def channels_first(rows: Rows, where: str) -> Rows:
    """Images of any size as (C, H, W), of which no data say how many channels there are.

    The last axis has the channels where its size is 1 or 3, else the first.

    Args:
        rows: of shape (H, W, C), (C, H, W) or (H, W).
        where: they are from, for messages.

    Raises:
        ValueError: they are none of these.
    """
    shape = rows.shape
    if len(shape) == 2:
        return OneChannel(rows)
    if len(shape) == 3 and shape[-1] in CHANNELS:
        return ChannelsFirst(rows)
    if len(shape) == 3 and shape[0] in CHANNELS:
        return rows
    raise ValueError(
        f"{where} holds arrays of shape {(len(rows), *shape)}; images are (N, H, W, C) or (N, C, H, W) of 1 or 3 "
        f"channels, or (N, H, W)."
    )
