"""``sampling.grid=optimised``: times that come with the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sde_lib.base import GaussianProcess
from sde_lib.grids import Grid, register_grid


@register_grid
@dataclass(frozen=True)
class Optimised(Grid):
    """Times that a pilot found for a checkpoint and a sampler, loaded with the weights (``tuning.stored_grids``).

    No rule gives them: previews of training, which have no checkpoint yet, use the ``log_snr`` grid.
    """

    needs: ClassVar[type] = GaussianProcess

    def place(self, process: GaussianProcess, u: Tensor) -> Tensor:
        raise ValueError(
            "sampling.grid='optimised' has the times of one sampler and checkpoint, and no others: take another "
            "grid here, such as log_snr."
        )
