"""Sets of images of which the moments alone are known: published statistics."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from run_lib.fingerprint import of_arrays
from run_lib.metrics.base import NoRowsError, Output, View
from run_lib.metrics.moments import Moments


@dataclass(frozen=True)
class Known(View):
    """Statistics of a set.

    Attributes:
        title: where they are from.
        held: the moments, by output.
    """

    title: str
    held: Mapping[Output, Moments]
    labels: np.ndarray | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of all moments."""
        arrays = [torch.from_numpy(a) for _, m in sorted(self.held.items()) for a in (m.mean, m.covariance)]
        return of_arrays(*arrays)

    @property
    def count(self) -> int:
        return max(one.count for one in self.held.values())

    def moments(self, output: Output) -> Moments:
        if output not in self.held:
            raise ValueError(f"{self.title} has statistics of {', '.join(self.held)}, and none of {output}.")
        return self.held[output]

    def rows(self, output: Output) -> np.ndarray:
        raise NoRowsError(
            f"{self.title} has means and covariances alone, and the features of every image are needed: give the "
            f"images."
        )
