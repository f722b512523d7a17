"""A data set of torch's own protocol: grey images of discs, each drawn when it is asked for."""

from typing import Annotated

import torch
from torch.utils.data import Dataset

from run_lib.data.sources import register_dataset
from sde_lib import Noise, Range


class Discs(Dataset):
    """A disc at a random place of each image, of radius r, or of half of it; which one is the class."""

    classes = ("small", "large")

    def __init__(self, split, shape, radius):
        self.shape, self.radius = shape, radius
        self.noise_seed = {"train": 1, "test": 2}[split]
        self.targets = [k % 2 for k in range(200)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        center = 0.3 + 0.4 * Noise(self.noise_seed, [index]).uniform((1, 2))[0]
        lines, columns = (torch.arange(size) / size for size in self.shape[1:])
        distance = ((lines[:, None] - center[0]) ** 2 + (columns - center[1]) ** 2).sqrt()
        inside = distance < (self.radius if self.targets[index] else self.radius / 2)
        return (16 * inside[None]).to(torch.uint8), self.targets[index]


@register_dataset
def discs(split, shape, radius: Annotated[float, Range(above=0)] = 0.25):
    """Discs of two sizes.

    Args:
        radius: of the larger ones, as a share of the image's side.
    """
    return Discs(split, shape, radius)
