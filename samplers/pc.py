"""The predictor-corrector loop: the only one in the project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias, overload

import torch
from torch import Tensor

from models.base import device_of
from models.prediction.noise_model import Model, Watched
from samplers.automatic import choose
from samplers.base import Constraint, Corrector, Memory, Predictor, Step, Stepping, take_step
from samplers.correctors.none import NoneCorrector
from samplers.starting import with_signal
from sde_lib.base import Process
from sde_lib.grids import Blend, Grid, LogSNR, Uniform
from sde_lib.needs import check_needs, serves
from sde_lib.noise import Noise
from sde_lib.settings import Range, check_settings
from sde_lib.timetable import grid_times

Substeps: TypeAlias = Annotated[
    int, Range(least=1, words="n_steps_each must be at least 1, got {value}; for none, corrector 'none'.")
]
"""How many steps a corrector makes at each time."""


@dataclass(frozen=True)
class SampleResult:
    """Samples, (B, ...), and the number of network evaluations that they took."""

    x: Tensor
    nfe: int


def noise_for(model: Model, shape: Sequence[int], noise: Noise | None, seed: int | None) -> Noise:
    """The random numbers of a batch: the given ``noise``, or those of ``seed`` (0) on the model's device.

    Raises:
        ValueError: both are given.
    """
    if noise is None:
        return Noise(seed or 0, range(shape[0]), device_of(model))
    if seed is not None:
        raise ValueError(f"samples are drawn from noise or from a seed, and both are given (seed={seed}).")
    return noise


def default_grid(process: Process) -> Grid[Any]:
    """Equal steps in log(sigma/alpha) for an SDE with a Gaussian marginal, equal steps in time where there is none.

    A chain, whose levels may lie too far apart for the former, takes steps that are as dense halfway between noise and
    data as at both ends together: at equal steps in the index, UniPC's deviation is tens of percent off.
    """
    if process.num_levels is None:
        return LogSNR() if serves(process, LogSNR) else Uniform()
    return Blend(0.5, 0.5, 1.6)


@dataclass(frozen=True)
class PCSampler:
    """Predictor steps along ``times``, correctors at each time, one closing estimate of clean data.

    ``PCSampler.of(model, num_steps=10).sample((16, 3, 32, 32), seed=0).x`` are 16 samples.

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
        predictor: goes from one time to the next; one that encodes takes rising times.
        corrector: moves a state towards the marginal of its time.
        times: (num_steps,), from ``sde_lib.grids``; with ``constraints.repaint`` they rise in between. Where the prior
            has no signal, a run that divides by alpha starts below (``samplers.starting``).
        n_steps_each: number of corrector steps at each time.
        corrector_first: whether the corrector runs before a prediction, at its first time (score_sde), or after it.
        noise_removal: whether the result is the estimate of clean data, E[x_0 | x_t], at the last time.
        constraints: projections after every predictor and corrector step.
        stepping: takes the predictor's steps.

    Raises:
        ValueError: a process that lacks what a component needs, times in the wrong direction, no corrector steps.
    """

    model: Model
    predictor: Predictor
    corrector: Corrector
    times: Tensor
    n_steps_each: Substeps = 1
    corrector_first: bool = True
    noise_removal: bool = True
    constraints: Sequence[Constraint] = ()
    stepping: Stepping = take_step

    def __post_init__(self) -> None:
        check_settings(self)
        process = self.model.process
        check_needs("predictor", self.predictor, process)
        check_needs("corrector", self.corrector, process)
        for constraint in self.constraints:
            check_needs("constraint", constraint, process)
        object.__setattr__(self, "times", with_signal(self.times, self.model, self.predictor))
        self.predictor.check_times(self.times)

    @classmethod
    def of(
        cls,
        model: Model,
        predictor: Predictor | None = None,
        corrector: Corrector | None = None,
        *,
        num_steps: int = 50,
        grid: Grid | None = None,
        n_steps_each: int = 1,
        corrector_first: bool = True,
        noise_removal: bool = True,
        constraints: Sequence[Constraint] = (),
    ) -> PCSampler:
        """A sampler on a grid of times.

        Args:
            model, n_steps_each, corrector_first, noise_removal, constraints: see the class.
            predictor: unless given, it is chosen with its grid by the rule of ``samplers.automatic``.
            corrector: unless given, there is none.
            num_steps: how many times the grid has: evaluations of the network, for a predictor that takes one a step.
            grid: where the times lie; unless given, it is chosen with the predictor, or, for a given one, by
                ``default_grid``.

        Raises:
            ValueError: as for the class, a grid that the process cannot have, or correctors or constraints without a
                predictor.
        """
        if predictor is None:
            if corrector is not None or constraints:
                raise ValueError(
                    "which predictor? The chosen ones go on from earlier evaluations, which correctors and constraints "
                    "clear at every step: with them name one, such as AncestralSampling() or Heun()."
                )
            chosen = choose(model.process, num_steps)
            predictor, grid = chosen.predictor, chosen.grid if grid is None else grid
        grid = default_grid(model.process) if grid is None else grid
        check_needs("grid", grid, model.process)
        times = grid.times(model.process, num_steps)
        return cls(
            model,
            predictor,
            NoneCorrector() if corrector is None else corrector,
            times.flip(0) if predictor.encodes else times,
            n_steps_each,
            corrector_first,
            noise_removal,
            constraints,
        )

    @property
    def start(self) -> float:
        """The time of the first state."""
        return float(self.times[0])

    def brief(self) -> PCSampler:
        """The same at its first and its last time alone: two evaluations, for a predictor that takes one a step."""
        return replace(self, times=self.times[[0, -1]])

    def __len__(self) -> int:
        """The number of steps that ``iterate`` yields."""
        return len(self.times) - 1 + (self.noise_removal and not self.predictor.encodes)

    @torch.no_grad()
    def iterate(self, x: Tensor, noise: Noise, **cond: Any) -> Iterator[Step]:
        """From states at the first time: yields the state after the work at each later time.

        The last step yielded is the result: with ``noise_removal`` both of its members are the estimate. Each
        step's ``x0`` is the data predicted on the way to it.
        """
        model = Watched(self.model.given(**cond))
        grid = self.times.to(x.device)
        times = grid_times(grid, len(x))
        step, memory, left = Step(x, x), Memory(), x
        predictors = self.predictor.plan(model.process, grid)
        for predictor, t, s in zip(predictors, times[:-1], times[1:], strict=True):
            if self.corrector_first:
                step = self._correct(model, step, t, noise)
            # The predictor finds the state where it left it, or starts anew.
            past = memory if step.x is left else Memory()
            advance = self.stepping(predictor, model, step.x, t, s, noise, past)
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

    @overload
    def sample(self, shape: Sequence[int], noise: Noise, **cond: Any) -> SampleResult: ...
    @overload
    def sample(self, shape: Sequence[int], *, seed: int = 0, **cond: Any) -> SampleResult: ...
    @torch.no_grad()
    def sample(
        self, shape: Sequence[int], noise: Noise | None = None, *, seed: int | None = None, **cond: Any
    ) -> SampleResult:
        """Draw samples.

        Args:
            shape: (B, ...), of the batch.
            noise: the samples' streams of random numbers.
            seed: in place of ``noise``: streams 0 to B - 1 of this seed, on the model's device; 0 unless given.
            cond: the network's conditioning, each of leading size B.
        """
        noise = noise_for(self.model, shape, noise, seed)
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
