"""The interfaces of predictors, correctors and constraints."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeAlias

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
    """The result of a step: a state, and its mean, the same state without the noise added last; both (B, ...).

    ``prediction`` is the latest prediction of the model before the state was reached; the loop sets it.
    """

    x: Tensor
    mean: Tensor
    prediction: Prediction | None = None

    @property
    def x0(self) -> Tensor:
        """The data predicted on the way to the state, (B, ...)."""
        if self.prediction is None:
            raise ValueError(
                "this step rests on no prediction: the loop's steps do, unless nothing was evaluated."
            )
        return self.prediction.x0


@dataclass(frozen=True)
class Evaluation:
    """An earlier evaluation of the model, as a multistep predictor keeps it.

    Attributes:
        t: the time of the evaluation, (B,).
        x: the state from which the step at ``t`` departed, (B, ...).
        value: the view of the prediction that the predictor interpolates, (B, ...).
    """

    t: Tensor
    x: Tensor
    value: Tensor


@dataclass(frozen=True)
class Memory:
    """What a multistep predictor keeps from one step to the next; empty at the start and after a reset.

    Attributes:
        past: earlier evaluations, the latest first.
        fresh: the noise that the last step added, (B, ...); None: it added none.
    """

    past: tuple[Evaluation, ...] = ()
    fresh: Tensor | None = None


@dataclass(frozen=True)
class Advance:
    """A step, and the memory for the next one."""

    step: Step
    memory: Memory


class Predictor(abc.ABC, Generic[NeededProcess]):
    """Moves a state from time ``t`` to time ``s``. Implementations are frozen dataclasses of their settings.

    Attributes:
        needs: the kind of process that it works with, checked when a sampler is built; the class's type argument,
            ``Predictor[GaussianProcess]``, or stated in the class.
        encodes: whether it moves from data to noise (s noisier than t).
        remembers: whether it uses earlier evaluations.
        one_graph: whether a step is one graph to the compiler: it branches on no tensor's value.
    """

    needs: ClassVar[type] = Process
    encodes: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    one_graph: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        declare_needs(cls)

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def order(self) -> int | None:
        """The order of convergence of a deterministic predictor, which a test confirms; None if it is stochastic."""
        return None

    @property
    def evaluations(self) -> int | None:
        """Evaluations of the network that a step takes, counted by a test; None: as many as it finds necessary."""
        return 1

    @property
    def at_pure_noise(self) -> bool:
        """Whether a step may begin, or end, where alpha is 0; otherwise a run starts below (``samplers.starting``)."""
        return False

    def check_times(self, times: Tensor) -> None:
        """Check that the times (num_steps,) fall, or rise for a predictor that encodes.

        Raises:
            ValueError: they do not.
        """
        steps = times.diff()
        if not bool((steps > 0 if self.encodes else steps < 0).all()):
            raise ValueError("times must fall from noise to data, or rise for a predictor that encodes.")

    def plan(self, process: NeededProcess, times: Tensor) -> Sequence[Predictor[NeededProcess]]:
        """The predictor of each step between ``times``, asked once before the loop: this one for all, by default."""
        return [self] * (len(times) - 1)

    def advance(
        self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance:
        """One step with memory, which the loop calls. A one-step predictor leaves the memory as it is."""
        return Advance(self.update_fn(model, x, t, s, noise), memory)

    @abc.abstractmethod
    def update_fn(self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        """One step.

        Args:
            model: gives predictions and the process.
            x: states at ``t``, (B, ...).
            t, s: the time of ``x`` and the time to go to, (B,).
            noise: the samples' streams of random numbers.
        """


class Stepping(Protocol):
    """Takes a predictor's step, as it is or compiled; arguments as for ``Predictor.advance``."""

    def __call__(
        self,
        predictor: Predictor,
        model: Model,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        noise: Noise,
        memory: Memory,
        /,
    ) -> Advance: ...


def take_step(
    predictor: Predictor, model: Model, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory, /
) -> Advance:
    """The step as it is."""
    return predictor.advance(model, x, t, s, noise, memory)


class MultistepPredictor(Predictor[NeededProcess]):
    """A predictor that uses earlier evaluations: it implements ``advance``, which takes and returns its memory."""

    remembers: ClassVar[bool] = True

    @abc.abstractmethod
    def advance(
        self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> Advance: ...

    def update_fn(self, model: Model[NeededProcess], x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        """One step without earlier evaluations, as the first one."""
        return self.advance(model, x, t, s, noise, Memory()).step


class Corrector(abc.ABC, Generic[NeededProcess]):
    """Moves a state at time ``t`` towards the marginal p_t, by Markov chain Monte Carlo on the score.

    Attributes:
        needs: the kind of process that it works with; see ``Predictor``.
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
    """Projects states onto what is known of the sample, after every predictor and corrector step."""

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
