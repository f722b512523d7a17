"""DINOv2, in whose space Stein et al. (2023) measure the Fréchet distance FD-DINOv2."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from run_lib.extractors.base import Extractor, register_extractor
from run_lib.extractors.blocks import in_blocks
from run_lib.extractors.colour import ColourOf8Bits
from run_lib.extractors.needed import needed
from run_lib.extractors.resize import FILTERS
from run_lib.extractors.transformer import configuration, load, normalised
from run_lib.extractors.weights import Published, Weights, from_hub
from run_lib.metrics.base import Output

REPOSITORY = "facebook/dinov2-large"
FILES = ("model.safetensors", "pytorch_model.bin")
PUBLISHED = Published(
    "DINOv2 (ViT-L/14)",
    FILES,
    f"https://huggingface.co/{REPOSITORY}",
    from_hub(REPOSITORY, FILES),
    "dinov2-large",
)
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 518,
    "patch_size": 14,
}
"""The published architecture."""
SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OFFSET = 0.1
"""Added to the number of patches when the makers' own code resizes its table of positions."""


def positions(table: Tensor, grid: int) -> Tensor:
    """The embeddings of positions (1, 1 + n^2, D) for ``grid`` x ``grid`` patches, as the makers' code resizes them.

    Its scale is (grid + 0.1) / n, which the transformers library leaves out; features differ by it.
    """
    side = round((table.shape[1] - 1) ** 0.5)
    if side == grid:
        return table
    patches = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (grid + OFFSET) / side
    resized = nn.functional.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([table[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)


@register_extractor(name="dinov2")
class DINOv2(Extractor):
    """DINOv2's class token after its last normalisation, of images at 224x224; ViT-L/14 unless the weights are others.

    Args:
        shape: of an image.
        levels: of an image.
        device: to compute on.
        weights: the published file, with its ``config.json`` beside it, or their folder; None: they are fetched.
        resize: as the paper's code does it, pil, its other choice clean, or EDM2's, torch.
    """

    title: ClassVar[str] = "DINOv2"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        device: torch.device,
        weights: Path | None,
        resize: Literal["pil", "clean", "torch"] = "pil",
    ) -> None:
        self._colour = ColourOf8Bits(shape, levels, "dinov2")
        self._filter = FILTERS[resize]
        with needed("transformers"):
            from transformers import Dinov2Config, Dinov2Model
        self._weights = Weights.read(PUBLISHED.find(weights), PUBLISHED.title)
        found = configuration(self._weights.path, PUBLISHED.title, "dinov2") or LARGE
        network = load(
            Dinov2Model, Dinov2Config.from_dict(found), self._weights, PUBLISHED.title, lambda name: False
        )
        own = network.config
        self._published = resize == "pil" and all(getattr(own, k) == value for k, value in LARGE.items())
        table = network.embeddings.position_embeddings
        self._width = int(table.shape[-1])
        grid = SIZE // network.config.patch_size
        network.embeddings.position_embeddings = nn.Parameter(positions(table, grid), requires_grad=False)
        self._network = network.to(device)
        self._device = device

    @property
    def published(self) -> bool:
        return self._published

    @property
    def dimensions(self) -> Mapping[Output, int]:
        return {"features": self._width}

    @property
    def protocol(self) -> Mapping[str, str]:
        return {
            "network": f"DINOv2, class token of {self._width} features",
            "weights": self._weights.words,
            "resize": f"{SIZE}x{SIZE}, {self._filter.words}",
            **self._colour.protocol,
        }

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        return in_blocks(self._outputs, self._colour(images), outputs, self._device)

    def _outputs(self, images: Tensor) -> dict[Output, Tensor]:
        x = normalised(self._filter.apply(images, SIZE), MEAN, STD)
        return {"features": self._network(x).pooler_output}
