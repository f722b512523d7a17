"""An extractor of features: the share of pixels in each of a few bins of brightness."""

from typing import Annotated

import numpy as np
import torch

from run_lib.extractors.base import Extractor, register_extractor
from sde_lib import Range


@register_extractor
class Histogram(Extractor):
    """Histograms of levels.

    Args:
        bins: of brightness.
    """

    title = "histogram"

    def __init__(self, levels: int, bins: Annotated[int, Range(least=2, most=256)] = 8):
        self.levels, self.bins = levels, bins

    @property
    def dimensions(self):
        return {"features": self.bins}

    @property
    def protocol(self):
        return {"extractor": f"histograms of {self.levels} levels in {self.bins} bins"}

    def __call__(self, images, outputs):
        places = images.flatten(1).long() * self.bins // self.levels
        found = [torch.bincount(row, minlength=self.bins) for row in places]
        return {"features": torch.stack(found).numpy().astype(np.float32) / places.shape[1]}
