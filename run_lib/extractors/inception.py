"""The Inception network of TensorFlow's 2015 release, of which papers' FID, KID, IS and sFID are numbers."""

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
from run_lib.extractors.weights import Published, Weights, release
from run_lib.metrics.base import Output

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d"
PUBLISHED = Published(
    "TensorFlow's Inception (torch-fidelity's port)",
    (URL.rpartition("/")[2], "pt_inception-2015-12-05-6726825d.pth"),
    URL,
    release(URL),
)
SIZE = 299
SPATIAL = 7
"""Channels of sFID."""


class InceptionNetwork(nn.Module):
    """The network's layers in their order, torch-fidelity's, with its names."""

    def __init__(self) -> None:
        super().__init__()
        with needed("torch-fidelity"):
            from torch_fidelity.feature_extractor_inceptionv3 import (
                BasicConv2d,
                InceptionA,
                InceptionB,
                InceptionC,
                InceptionD,
                InceptionE_1,
                InceptionE_2,
            )
        layers = {
            "Conv2d_1a_3x3": BasicConv2d(3, 32, kernel_size=3, stride=2),
            "Conv2d_2a_3x3": BasicConv2d(32, 32, kernel_size=3),
            "Conv2d_2b_3x3": BasicConv2d(32, 64, kernel_size=3, padding=1),
            "MaxPool_1": nn.MaxPool2d(kernel_size=3, stride=2),
            "Conv2d_3b_1x1": BasicConv2d(64, 80, kernel_size=1),
            "Conv2d_4a_3x3": BasicConv2d(80, 192, kernel_size=3),
            "MaxPool_2": nn.MaxPool2d(kernel_size=3, stride=2),
            "Mixed_5b": InceptionA(192, pool_features=32),
            "Mixed_5c": InceptionA(256, pool_features=64),
            "Mixed_5d": InceptionA(288, pool_features=64),
            "Mixed_6a": InceptionB(288),
            "Mixed_6b": InceptionC(768, channels_7x7=128),
            "Mixed_6c": InceptionC(768, channels_7x7=160),
            "Mixed_6d": InceptionC(768, channels_7x7=160),
            "Mixed_6e": InceptionC(768, channels_7x7=192),
            "Mixed_7a": InceptionD(768),
            "Mixed_7b": InceptionE_1(1280),
            "Mixed_7c": InceptionE_2(2048),
        }
        for name, part in layers.items():
            self.add_module(name, part)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> dict[Output, Tensor]:
        """Outputs of levels (B, 3, 299, 299) from 0 to 255."""
        found: dict[Output, Tensor] = {}
        x = (x - 128) / 128
        for name, part in self.named_children():
            if part is self.fc:
                break
            x = part(x)
            if name == "Mixed_6d":
                # TensorFlow's mixed_6/conv is the 1x1 branch, the first of the concatenated channels; its arrays end
                # with the channels.
                found["spatial"] = x[:, :SPATIAL].permute(0, 2, 3, 1).flatten(1)
        features = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return found | {"features": features, "logits": features @ self.fc.weight.T}


@register_extractor(name="inception")
class Inception(Extractor):
    """TensorFlow's Inception of 2015: pooled features, logits without their bias, and sFID's 7 channels of 17x17.

    Args:
        shape: of an image.
        levels: of an image.
        device: to compute on.
        weights: the published file, or a folder that has it; None: it is fetched.
        resize: to 299x299: as the network's own graph does, tf1, or clean-fid's.
    """

    title: ClassVar[str] = "Inception"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        device: torch.device,
        weights: Path | None,
        resize: Literal["tf1", "clean"] = "tf1",
    ) -> None:
        self._colour = ColourOf8Bits(shape, levels, "inception")
        self._filter = FILTERS[resize]
        with torch.device("meta"):  # numbers that are replaced at once are not drawn
            network = InceptionNetwork()
        found = Weights.read(PUBLISHED.find(weights), PUBLISHED.title)
        found.load_into(network, PUBLISHED.title)
        self._network = network.requires_grad_(False).eval().to(device)
        self._device = device
        genuine = found.hash.startswith(SHA256)
        self._published = genuine and resize == "tf1"
        self._words = found.words if genuine else f"{found.words}, not the published {SHA256}"

    @property
    def published(self) -> bool:
        return self._published

    @property
    def dimensions(self) -> Mapping[Output, int]:
        return {"features": 2048, "logits": 1008, "spatial": SPATIAL * 17 * 17}

    @property
    def protocol(self) -> Mapping[str, str]:
        resize = f"{SIZE}x{SIZE}, {self._filter.words}"
        return {"network": PUBLISHED.title, "weights": self._words, "resize": resize, **self._colour.protocol}

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        return in_blocks(self._outputs, self._colour(images), outputs, self._device)

    def _outputs(self, images: Tensor) -> dict[Output, Tensor]:
        found: dict[Output, Tensor] = self._network(self._filter.apply(images, SIZE))
        return found
