"""Spaces that need no network: pixels, and principal components of a reference set."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from run_lib.data.rows import Rows
from run_lib.extractors.base import Extractor, register_extractor
from run_lib.extractors.blocks import in_blocks
from run_lib.extractors.levels import check_samples, in_words
from run_lib.fingerprint import of_arrays
from run_lib.metrics.base import Output
from sde_lib.settings import Range

Count: TypeAlias = Annotated[int, Range(least=1)]
FITTED = 10_000
"""Most samples that components are fitted to: more would say the same, and take memory."""
FITTED_BYTES, LEAST_FITTED = 2**30, 200
"""Memory of those in float64, and so many at least: of images of 256 pixels a side 682."""


@register_extractor(name="pixels")
class Pixels(Extractor):
    """The levels themselves, in the order of the array; continuous data as they are.

    Args:
        shape: of a sample.
        levels: of a sample; 0: continuous data.
    """

    title: ClassVar[str] = "pixels"

    def __init__(self, shape: tuple[int, ...], levels: int) -> None:
        self._shape = shape
        self._levels = levels

    @property
    def dimensions(self) -> Mapping[Output, int]:
        return {"features": math.prod(self._shape)}

    @property
    def protocol(self) -> Mapping[str, str]:
        return {"resize": "none", "range": in_words(self._levels)}

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        check_samples(images, self._shape, self._levels, "pixels")
        return in_blocks(lambda block: {"features": block.flatten(1)}, images, outputs, images.device)


@register_extractor(name="pca")
class PrincipalComponents(Extractor):
    """The first principal components of the reference set, of the levels or continuous data.

    Args:
        shape: of a sample.
        levels: of a sample; 0: continuous data.
        reference: the set; of more than 10,000 samples, or than a GiB holds in float64, so many spread evenly over it.
        components: how many; there are no more than samples or values of one.

    Raises:
        ValueError: there is no reference set.
    """

    title: ClassVar[str] = "PCA"

    def __init__(
        self, shape: tuple[int, ...], levels: int, reference: Rows | None, components: Count = 20
    ) -> None:
        if reference is None:
            raise ValueError(
                "extractor 'pca' is fitted to the images of a reference set, and there are none: take pixels."
            )
        from sklearn.decomposition import PCA

        self._shape = shape
        self._levels = levels
        most = min(FITTED, max(LEAST_FITTED, FITTED_BYTES // (8 * math.prod(shape))))
        some = np.unique(np.linspace(0, len(reference) - 1, min(most, len(reference))).astype(int))
        rows = reference.read(some).flatten(1).double().numpy()
        fitted = PCA(min(components, *rows.shape), random_state=0).fit(rows)
        self._mean, self._axes = (
            torch.from_numpy(part) for part in (fitted.mean_, fitted.components_.T.copy())
        )
        self._count = len(some)

    @property
    def dimensions(self) -> Mapping[Output, int]:
        return {"features": self._axes.shape[1]}

    @property
    def protocol(self) -> Mapping[str, str]:
        return {
            "weights": f"{self._axes.shape[1]} components of {self._count} reference images, "
            f"SHA-256 {of_arrays(self._mean, self._axes)}",
            "resize": "none",
            "range": in_words(self._levels),
        }

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        check_samples(images, self._shape, self._levels, "pca")
        return in_blocks(self._outputs, images, outputs, torch.device("cpu"))

    def _outputs(self, images: Tensor) -> dict[Output, Tensor]:
        return {"features": (images.flatten(1).double() - self._mean) @ self._axes}
