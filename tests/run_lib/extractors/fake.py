"""Files of weights in the published layouts, their numbers drawn at random so that features are of order one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from run_lib.extractors.inception import InceptionNetwork

GREY, COLOUR = (1, 20, 20), (3, 20, 20)
CPU = torch.device("cpu")


def drawn(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with numbers for which neither signals nor differences vanish on the way."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.is_floating_point():
            low = 0.5 if name.endswith(("var", "weight")) else -0.5
            value.uniform_(low, low + 1, generator=generator)
    return network


def inception_file(folder: Path) -> Path:
    """Weights of Inception in torch-fidelity's layout."""
    pytest.importorskip("torch_fidelity")
    path = folder / "inception.pth"
    torch.save(drawn(InceptionNetwork()).state_dict(), path)
    return path


def transformers_folder(folder: Path, network: Any) -> Path:
    """A network of the transformers library as its hub has it: ``config.json`` and ``model.safetensors``."""
    drawn(network).save_pretrained(folder)
    return folder


def images(shape: tuple[int, ...], count: int = 3, levels: int = 256) -> Tensor:
    """Levels (count, ...), uint8."""
    return torch.randint(
        0, levels, (count, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )


class Evil:
    """What unpickling would turn into a file on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
