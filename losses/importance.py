"""Times drawn in proportion to the size of the loss there."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from losses.times import TimeSampler
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.noise import Noise
from sde_lib.settings import Range, checked


class LossSecondMoment(TimeSampler[DiscreteDiffusion]):
    """p(t) in proportion to sqrt(E[L_t^2]) (Nichol & Dhariwal 2021, section 3.3, eq. 18).

    The expectation is the mean over the last ``history`` losses of each level; until every level has that
    many, times are uniform. A share ``uniform`` is always spread evenly, so that none is forgotten. Losses
    weighted by 1 / (N p(t)) have the mean of uniform times and, for this p, the least variance.

    Args:
        num_levels: number of levels N of the chain.
        history: number of losses kept of each level.
        uniform: share of times that are drawn uniformly.
    """

    @checked
    def __init__(
        self,
        *,
        num_levels: Annotated[int, Range(least=1)],
        history: Annotated[int, Range(least=1, most=10**5)] = 10,
        uniform: Annotated[float, Range(above=0, most=1)] = 0.001,
    ) -> None:
        self.uniform = uniform
        # On the CPU in float64: the same bits on every process and device. The losses of a level lie in a
        # ring, whose next place is ``counts`` modulo its length.
        self._losses = torch.zeros(num_levels, history, dtype=torch.float64)
        self._counts = torch.zeros(num_levels, dtype=torch.int64)

    def probabilities(self) -> Tensor:
        """p of every level, (N,), float64."""
        num_levels, history = self._losses.shape
        p = self._losses.square().mean(1).sqrt()
        # Uniform as well where nothing tells the levels apart. No branch: a compiled training step asks no values.
        known = (self._counts >= history).all() & p.any()
        learned = (1 - self.uniform) * p / p.sum() + self.uniform / num_levels
        return torch.where(known, learned, torch.full_like(p, 1 / num_levels))

    def sample(self, process: DiscreteDiffusion, noise: Noise) -> Tensor:
        cumulative = self.probabilities().cumsum(0).to(noise.device)
        u = noise.uniform((len(noise), 1))[:, 0].double() * cumulative[-1]
        return torch.searchsorted(cumulative, u, right=True).clamp(max=len(cumulative) - 1)

    def weights(self, t: Tensor) -> Tensor:
        return (1 / (len(self._counts) * self.probabilities())).to(t.device)[t]

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Remember the losses of this step, in their order."""
        history = self._losses.shape[1]
        for level, value in zip(t.tolist(), losses.tolist(), strict=True):
            place = int(self._counts[level]) % history
            self._losses[level, place] = value
            self._counts[level] += 1

    def state_dict(self) -> dict[str, Tensor]:
        return {"losses": self._losses.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        if state["losses"].shape != self._losses.shape:
            raise ValueError(
                f"the checkpoint's history of losses is of {tuple(state['losses'].shape)} (levels, losses "
                f"of each) and "
                f"this distribution's of {tuple(self._losses.shape)}; keep model.num_scales as it was."
            )
        self._losses.copy_(state["losses"])
        self._counts.copy_(state["counts"])
