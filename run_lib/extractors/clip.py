"""CLIP, in whose space Jayasumana et al. (2024) measure CMMD."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from run_lib.extractors.base import Extractor, register_extractor
from run_lib.extractors.blocks import in_blocks
from run_lib.extractors.colour import ColourOf8Bits
from run_lib.extractors.needed import needed
from run_lib.extractors.resize import FILTERS
from run_lib.extractors.transformer import configuration, load, normalised
from run_lib.extractors.weights import Published, Weights, from_hub
from run_lib.metrics.base import Output

REPOSITORY = "openai/clip-vit-large-patch14-336"
FILES = ("model.safetensors", "pytorch_model.bin")
PUBLISHED = Published(
    "CLIP (ViT-L/14 at 336 pixels)",
    FILES,
    f"https://huggingface.co/{REPOSITORY}",
    from_hub(REPOSITORY, FILES),
    "clip-vit-large-patch14-336",
)
LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}
"""The published architecture of images."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def _of_texts(name: str) -> bool:
    """Whether a tensor of a CLIP file is none of those that see images."""
    return name.startswith(("text_model.", "text_projection.", "logit_scale")) or name.endswith(
        ".position_ids"
    )


def central_square(images: Tensor) -> Tensor:
    """The largest square in the middle of images (B, C, H, W); of an odd rest the smaller half is cut off first."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, :, top : top + side, left : left + side]


@register_extractor(name="clip")
class CLIP(Extractor):
    """CLIP's embedding of an image, of length one; ViT-L/14 at 336 pixels unless the weights are others.

    Args:
        shape: of an image.
        levels: of an image.
        device: to compute on.
        weights: the published file, with its ``config.json`` beside it, or their folder; None: they are fetched.
        resize: as CMMD's code does it, pil; or clean, or torch.
    """

    title: ClassVar[str] = "CLIP"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        device: torch.device,
        weights: Path | None,
        resize: Literal["pil", "clean", "torch"] = "pil",
    ) -> None:
        self._colour = ColourOf8Bits(shape, levels, "clip")
        self._filter = FILTERS[resize]
        with needed("transformers"):
            from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
        self._weights = Weights.read(PUBLISHED.find(weights), PUBLISHED.title)
        found = configuration(self._weights.path, PUBLISHED.title, "clip") or {"vision_config": LARGE}
        vision = found["vision_config"]
        width = found.get("projection_dim", vision.get("projection_dim"))
        config: Any = CLIPVisionConfig.from_dict({**vision, "projection_dim": width})
        self._network = load(
            CLIPVisionModelWithProjection, config, self._weights, PUBLISHED.title, _of_texts
        ).to(device)
        self._published = resize == "pil" and all(getattr(config, k) == value for k, value in LARGE.items())
        self._width = int(config.projection_dim)
        self._size = int(config.image_size)
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
            "network": f"CLIP, image embedding of {self._width} features, of length one",
            "weights": self._weights.words,
            "crop": "central square",
            "resize": f"{self._size}x{self._size}, {self._filter.words}",
            **self._colour.protocol,
        }

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        return in_blocks(self._outputs, central_square(self._colour(images)), outputs, self._device)

    def _outputs(self, images: Tensor) -> dict[Output, Tensor]:
        x = normalised(self._filter.apply(images, self._size), MEAN, STD)
        return {"features": torch.nn.functional.normalize(self._network(x).image_embeds)}
