"""Images in the form that published networks of photographs take: three channels of 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from run_lib.extractors.levels import check_samples, in_words


@dataclass(frozen=True)
class ColourOf8Bits:
    """The map from images of levels to colour images of 8 bits.

    Args:
        shape: of an image, (C, H, W).
        levels: number of values of a pixel.
        reader: what takes them, for messages.

    Raises:
        ValueError: the data are no grey or colour images of levels.
    """

    shape: tuple[int, ...]
    levels: int
    reader: str

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or self.shape[0] not in (1, 3):
            raise ValueError(
                f"extractor {self.reader!r} sees images of 1 or 3 channels, and these data have the shape "
                f"{self.shape}: take pixels, pca or classifier."
            )
        if self.levels < 2:
            raise ValueError(
                f"extractor {self.reader!r} sees images of levels, and these data are continuous "
                f"(data.levels={self.levels}): take pixels or pca."
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Integer levels (B, C, H, W) as uint8 (B, 3, H, W).

        Raises:
            ValueError: another shape, values that are no levels, or fractions.
        """
        check_samples(images, self.shape, self.levels, self.reader)
        if self.levels != 256:
            most = self.levels - 1
            images = (images.long() * 510 + most) // (2 * most)  # level * 255 / most, halves rounded up
        return images.to(torch.uint8).expand(-1, 3, -1, -1)

    @property
    def protocol(self) -> Mapping[str, str]:
        """What is done, in words."""
        scaled = "" if self.levels == 256 else ", scaled and rounded to 8 bits"
        return {
            "range": in_words(self.levels) + scaled,
            "colour": "RGB" if self.shape[0] == 3 else "grey, in three channels",
        }
