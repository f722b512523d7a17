"""Sampling and encoding by the probability-flow ODE, solved to a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias, overload

import torch
from torch import Tensor

from models.prediction.noise_model import Model
from samplers.pc import SampleResult, noise_for
from sde_lib.base import SDE, expand
from sde_lib.finite import NotFiniteError
from sde_lib.integrate import Outcome, integrate
from sde_lib.noise import Noise
from sde_lib.settings import Range, check_settings
from sde_lib.tableaus import TABLEAUS

Tolerance: TypeAlias = Annotated[float, Range(above=0, words="rtol and atol must be positive, got {value}.")]


@dataclass(frozen=True)
class ODESampler:
    """dx/dt = f - g^2 score / 2 (Song et al. 2021, eq. 13), with error control for each sample.

    The flow carries p_T to p_{t_end} and back, so ``decode(encode(x))`` returns x to the tolerance.

    Args:
        model: a model of an SDE.
        rtol, atol: relative and absolute tolerance of the solver.
        method: Runge-Kutta method, ``dopri5``, ``dop853`` or ``bosh3``.
        noise_removal: whether ``decode`` returns the estimate of clean data, E[x_0 | x_t], at the last time; a round
            trip needs the state itself.
        t_end: the smallest time; the process's own unless given.
    """

    model: Model[SDE]
    rtol: Tolerance = 1e-5
    atol: Tolerance = 1e-5
    method: str = "dopri5"
    noise_removal: bool = True
    t_end: float | None = None

    def __post_init__(self) -> None:
        if self.method not in TABLEAUS:
            raise ValueError(f"unknown ODE solver {self.method!r}; known: {', '.join(TABLEAUS)}.")
        check_settings(self)

    @property
    def start(self) -> float:
        """The time of the first state: the prior's, unless the drift, which divides by alpha, has no value there."""
        return self.model.process.signal_start

    def brief(self) -> ODESampler:
        """The same to a tolerance that every step meets."""
        return replace(self, rtol=1e30, atol=1e30)

    @overload
    def sample(self, shape: Sequence[int], noise: Noise, **cond: Any) -> SampleResult: ...
    @overload
    def sample(self, shape: Sequence[int], *, seed: int = 0, **cond: Any) -> SampleResult: ...
    def sample(
        self, shape: Sequence[int], noise: Noise | None = None, *, seed: int | None = None, **cond: Any
    ) -> SampleResult:
        """Draw ``shape`` = (B, ...) samples; ``noise`` or ``seed`` as for ``PCSampler.sample``."""
        noise = noise_for(self.model, shape, noise, seed)
        return self.decode(self.model.process.prior_sampling(shape, noise), **cond)

    @torch.no_grad()
    def decode(self, z: Tensor, **cond: Any) -> SampleResult:
        """States at T to data."""
        process = self.model.process
        before = self.model.nfe
        x = self._solve(z, self.start, self._end, cond)
        if self.noise_removal:
            t = torch.full((len(x),), self._end, dtype=torch.float64, device=x.device)
            x = process.denoise(x, t, self.model(x, t, **cond).score)
        return SampleResult(x, self.model.nfe - before)

    @torch.no_grad()
    def encode(self, x: Tensor, **cond: Any) -> SampleResult:
        """Data, taken as states at ``t_end``, to states at T."""
        before = self.model.nfe
        z = self._solve(x, self._end, self.start, cond)
        return SampleResult(z, self.model.nfe - before)

    @property
    def _end(self) -> float:
        return self.model.process.t_end if self.t_end is None else self.t_end

    def _solve(self, x: Tensor, t0: float, t1: float, cond: dict[str, Any]) -> Tensor:
        process = self.model.process

        def flow(t: Tensor, y: Tensor, rows: Tensor) -> Tensor:
            here = y.to(x.dtype)
            c = process.sde(here, t)
            score = self.model(here, t, **{name: value[rows] for name, value in cond.items()}).score
            return (c.drift - 0.5 * expand(c.diffusion**2, here) * score).double()

        solution = integrate(flow, x.double(), t0, t1, rtol=self.rtol, atol=self.atol, method=self.method)
        failed = solution.outcome.nonzero()[:, 0].tolist()
        if failed:
            why = Outcome(int(solution.outcome[failed[0]])).name.lower().replace("_", " ")
            raise NotFiniteError(
                f"the probability flow could not be solved for samples {failed[:8]} of the batch ({why}); "
                f"loosen rtol={self.rtol}/atol={self.atol} or check the model's output there.",
                rows=failed,
            )
        return solution.y.to(x.dtype)
