"""Modules of a user's own as extractors: ``@register_module(name="mine")`` above a class of ``torch.nn.Module``."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from run_lib.extractors.base import Extractor, register_extractor
from run_lib.extractors.blocks import in_blocks
from run_lib.extractors.levels import check_samples, in_words
from run_lib.extractors.weights import Weights
from run_lib.fingerprint import fingerprint, of_files
from run_lib.metrics.base import Output

M = TypeVar("M", bound=type[nn.Module])


class ModuleExtractor(Extractor):
    """What a module gives of samples in [0, 1]: levels over the highest, or continuous data as they are.

    Args:
        shape: of a sample.
        levels: of a sample; 0: continuous data.
        device: to compute on.
        weights: a file of the module's tensors, which must be all, or a folder that may have it under the extractor's
            name; without one the module is as its constructor leaves it.
    """

    def __init__(
        self, shape: tuple[int, ...], levels: int, device: torch.device, weights: Path | None
    ) -> None:
        self._shape = shape
        self._levels = levels
        self._device = device
        network = self.build()
        if (path := self._file(weights)) is not None:
            Weights.read(path, self.title).load_into(network, self.title)
        self._network = network.requires_grad_(False).eval().to(device)
        self._fingerprint = fingerprint(network)
        found = self(torch.zeros((1, *shape), dtype=torch.int64 if levels else torch.float32), ["features"])
        self._width = found["features"].shape[1]

    @classmethod
    @abc.abstractmethod
    def build(cls) -> nn.Module:
        """The module, with the weights that its constructor gives it."""

    def _file(self, weights: Path | None) -> Path | None:
        if weights is None or not weights.is_dir():
            return weights
        places = (weights / f"{self.title}{ending}" for ending in (".safetensors", ".pth"))
        return next((place for place in places if place.is_file()), None)

    @property
    def dimensions(self) -> Mapping[Output, int]:
        return {"features": self._width}

    @property
    def protocol(self) -> Mapping[str, str]:
        source = inspect.getsourcefile(type(self._network))
        code = f", source {of_files([Path(source)])}" if source else ""
        return {
            "network": f"{type(self._network).__qualname__}{code}",
            "weights": f"SHA-256 of the tensors {self._fingerprint}",
            "resize": "none",
            "range": in_words(self._levels),
        }

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        check_samples(images, self._shape, self._levels, self.title)
        return in_blocks(self._outputs, images, outputs, self._device)

    def _outputs(self, images: Tensor) -> dict[Output, Tensor]:
        found = self._network(images.float() / (self._levels - 1) if self._levels else images.float())
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"extractor {self.title!r} must give a tensor of features, (B, D), of {len(images)} samples; got {got}."
            )
        return {"features": found}


def register_module(*, name: str) -> Callable[[M], M]:
    """Make a module an extractor: ``frechet@NAME`` is the distance in the space of what it returns.

    The class is built without arguments; ``eval.extractor_weights`` may name a file of its tensors. It is called with
    samples (B, ...) in [0, 1] and returns their features (B, D).

    Args:
        name: of the extractor, after which its numbers are named as well.
    """

    def decorated(module: M) -> M:
        made = type(
            module.__name__,
            (ModuleExtractor,),
            {
                "__module__": module.__module__,
                "__qualname__": module.__qualname__,
                "__doc__": inspect.getdoc(module) or f"The module {module.__qualname__}.",
                "title": name,
                "build": classmethod(lambda cls: module()),
            },
        )
        register_extractor(name=name)(made)
        return module

    return decorated
