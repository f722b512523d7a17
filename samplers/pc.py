"""The predictor-corrector loop: the only one in the project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.prediction.noise_model import Model, Watched
from samplers.base import Constraint, Corrector, Memory, Predictor, Step
from sde_lib.noise import Noise


@dataclass(frozen=True)
class SampleResult:
    """Samples (B, ...) and the network evaluations that each took, counted."""

    x: Tensor
    nfe: int


@dataclass(frozen=True)
class PCSampler:
    """Predictor steps along ``times``, correctors at each time, one closing estimate of clean data.

    The rule for the end, for every predictor: steps go between the given times and no further; then, with
    ``noise_removal``, one more evaluation at the last time gives E[x_0 | x_t] (Tweedie), which is the result.
    So ``num_steps`` times are ``num_steps`` evaluations of a one-evaluation predictor; without noise removal
    the last evaluation is spared and the result is a state at the last time, noise included.

    The rule for memory: a multistep predictor starts with none, and loses what it has whenever a corrector or
    a constraint has moved the state, because earlier evaluations then belong to another trajectory; the step
    that follows is its first, of order one. So it is worth its memory with corrector ``none`` and no
    constraints; with them, take a predictor that has several evaluations a step.

    Args:
        model: predictions of a process.
        predictor: moves between times; one that encodes takes rising times.
        corrector: moves at a time.
        times: (num_steps,), from ``sde_lib.grids``; ``constraints.repaint`` makes them go back up in between.
        n_steps_each: corrector sub-steps at each time.
        corrector_first: correct at a time before predicting from it (score_sde), or after predicting to it.
        noise_removal: whether the result is the closing estimate.
        constraints: projections after every sub-step.
    """

    model: Model
    predictor: Predictor
    corrector: Corrector
    times: Tensor
    n_steps_each: int = 1
    corrector_first: bool = True
    noise_removal: bool = True
    constraints: Sequence[Constraint] = ()

    def __post_init__(self) -> None:
        if self.n_steps_each < 1:
            raise ValueError(
                f"n_steps_each must be at least 1, got {self.n_steps_each}; for none, corrector 'none'."
            )
        self.predictor.check_times(self.times)

    def __len__(self) -> int:
        """How many steps ``iterate`` yields."""
        return len(self.times) - 1 + (self.noise_removal and not self.predictor.encodes)

    @torch.no_grad()
    def iterate(self, x: Tensor, noise: Noise, **cond: Any) -> Iterator[Step]:
        """From states at the first time: yields the state after the work at each later time.

        The last step yielded is the result: with ``noise_removal`` both of its members are the estimate. Each
        step's ``x0`` is the data predicted on the way to it.
        """
        model = Watched(self.model.given(**cond))
        times = self.times.to(x.device)[:, None].expand(-1, len(x))
        step, memory, left = Step(x, x), Memory(), x
        predictors = self.predictor.plan(model.process, self.times)
        for predictor, t, s in zip(predictors, times[:-1], times[1:], strict=True):
            if self.corrector_first:
                step = self._correct(model, step, t, noise)
            # The predictor finds the state where it left it, or starts anew.
            advance = predictor.advance(model, step.x, t, s, noise, memory if step.x is left else Memory())
            memory, left = advance.memory, advance.step.x
            step = self._project(advance.step, s, noise)
            if not self.corrector_first:
                step = self._correct(model, step, s, noise)
            yield replace(step, prediction=model.last)
        if self.noise_removal and not self.predictor.encodes:
            last = times[-1]
            if self.corrector_first:
                step = self._correct(model, step, last, noise)
            x0 = model.process.denoise(step.x, last, model(step.x, last).score)
            closing = self._project(Step(x0, x0), torch.full_like(last, model.process.clean), noise)
            yield replace(closing, prediction=model.last)

    def _correct(self, model: Model, step: Step, t: Tensor, noise: Noise) -> Step:
        for _ in range(self.n_steps_each):
            step = self._project(self.corrector.update_fn(model, step.x, t, noise), t, noise)
        return step

    def _project(self, step: Step, t: Tensor, noise: Noise) -> Step:
        for constraint in self.constraints:
            step = constraint.project(step, self.model.process, t, noise)
        return step

    @torch.no_grad()
    def sample(self, shape: Sequence[int], noise: Noise, **cond: Any) -> SampleResult:
        """Draw ``shape`` = (B, ...) samples."""
        return self._run(self.prior(shape, noise), noise, cond)

    def prior(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """States at the first time to iterate from: draws from the prior, projected."""
        x = self.model.process.prior_sampling(shape, noise)
        return self._project(Step(x, x), self.times[:1].to(x.device).expand(len(x)), noise).x

    @torch.no_grad()
    def encode(self, x: Tensor, noise: Noise, **cond: Any) -> SampleResult:
        """Carry data at the first time to the last, with a predictor that encodes."""
        return self._run(x, noise, cond)

    def _run(self, x: Tensor, noise: Noise, cond: dict[str, Any]) -> SampleResult:
        before = self.model.nfe
        for step in self.iterate(x, noise, **cond):
            x = step.x
        return SampleResult(x, self.model.nfe - before)
