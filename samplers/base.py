"""What a predictor, a corrector and a constraint are."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeAlias

from torch import Tensor

from models.prediction.noise_model import Model, Prediction
from sde_lib.base import GaussianProcess, Process
from sde_lib.needs import NeededProcess, declare_needs
from sde_lib.noise import Noise
from sde_lib.registry import Registry
from sde_lib.settings import check_settings

GaussianModel: TypeAlias = Model[GaussianProcess]
"""A model of a process with a Gaussian marginal."""


@dataclass(frozen=True)
class Step:
    """A state, and the same state without the noise that was drawn to reach it; both (B, ...).

    ``prediction`` is the model's latest when the state was reached; the loop sets it.
    """

    x: Tensor
    mean: Tensor
    prediction: Prediction | None = None

    @property
    def x0(self) -> Tensor:
        """The predicted data on which the state rests, (B, ...)."""
        if self.prediction is None:
            raise ValueError(
                "this step rests on no prediction: the loop's steps do, unless nothing was evaluated."
            )
        return self.prediction.x0


@dataclass(frozen=True)
class Evaluation:
    """What a multistep predictor keeps of one evaluation.

    Attributes:
        t: its time, (B,).
        x: the state from which the step at ``t`` departed, (B, ...).
        value: the view of the prediction that the predictor interpolates, (B, ...).
    """

    t: Tensor
    x: Tensor
    value: Tensor


@dataclass(frozen=True)
class Memory:
    """What a predictor carries from one step to the next; empty at the start and after a reset.

    Attributes:
        past: evaluations, the latest first.
        fresh: the noise that the last step added, (B, ...); None: it added none.
    """

    past: tuple[Evaluation, ...] = ()
    fresh: Tensor | None = None


@dataclass(frozen=True)
class Advance:
    """A step, and what to remember of it."""

    step: Step
    memory: Memory


class Predictor(abc.ABC, Generic[NeededProcess]):
    """Moves a state from time ``t`` to time ``s``. Implementations are frozen dataclasses of their settings.

    Attributes:
        needs: what the process must be able to do; checked when an experiment is built.
        encodes: it moves from data to noise (s noisier than t).
    """

    needs: ClassVar[type] = Process
    encodes: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declare_needs(cls)

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def order(self) -> int | None:
        """The order of convergence of a deterministic predictor, confirmed by a test; None: stochastic."""
        return None

    def check_times(self, times: Tensor) -> None:
        """Refuse times (num_steps,) that the predictor does not step along: they fall, or rise if it encodes.

        Raises:
            ValueError: they do not.
        """
        steps = times.diff()
        if not bool((steps > 0 if self.encodes else steps < 0).all()):
            raise ValueError("times must fall from noise to data, or rise for a predictor that encodes.")

    def plan(self, process: NeededProcess, times: Tensor) -> Sequence[Predictor[NeededProcess]]:
        """The predictor of each step between ``times``; asked once, before the loop. All this one, by default."""
        return [self] * (len(times) - 1)

    def advance(
        self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        """What the loop calls: one step with memory. A one-step predictor has none."""
        return Advance(self.update_fn(model, x, t, s, noise), memory)

    @abc.abstractmethod
    def update_fn(self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        """One step.

        Args:
            model: gives predictions and the process.
            x: states at ``t``, (B, ...).
            t, s: now and where to go, (B,).
            noise: the samples' streams.
        """


class MultistepPredictor(Predictor[NeededProcess]):
    """A predictor that uses earlier evaluations: it implements ``advance``, with its memory explicit."""

    @abc.abstractmethod
    def advance(
        self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance: ...

    def update_fn(self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        """The step that remembers nothing: the first one."""
        return self.advance(model, x, t, s, noise, Memory()).step


class Corrector(abc.ABC, Generic[NeededProcess]):
    """Moves a state at time ``t`` towards the marginal p_t, by Markov chain Monte Carlo on the score.

    Attributes:
        needs: what the process must be able to do; checked when an experiment is built.
    """

    needs: ClassVar[type] = Process

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declare_needs(cls)

    def __post_init__(self) -> None:
        check_settings(self)

    @abc.abstractmethod
    def update_fn(self, model: Model[NeededProcess], x: Tensor, t: Tensor, noise: Noise) -> Step:
        """One sub-step; arguments as for a predictor."""


class Constraint(abc.ABC, Generic[NeededProcess]):
    """Projects a state onto what is known of it. Applied after every sub-step of a sampler."""

    needs: ClassVar[type] = GaussianProcess

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declare_needs(cls)

    def __post_init__(self) -> None:
        check_settings(self)

    @abc.abstractmethod
    def project(self, step: Step, process: NeededProcess, t: Tensor, noise: Noise) -> Step:
        """The step with its ``x`` and its ``mean`` each projected from itself, at time ``t`` (B,)."""


register_predictor: Registry[Predictor] = Registry("predictor")
register_corrector: Registry[Corrector] = Registry("corrector")
