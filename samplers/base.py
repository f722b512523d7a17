"""What a predictor, a corrector and a constraint are."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from models.noise_model import Model
from sde_lib.base import GaussianProcess, Process
from sde_lib.noise import Noise
from sde_lib.registry import Registry


@dataclass(frozen=True)
class Step:
    """A state, and the same state without the noise that was drawn to reach it; both (B, ...)."""

    x: Tensor
    mean: Tensor


class Predictor(abc.ABC):
    """Moves a state from time ``t`` to time ``s``. Implementations are frozen dataclasses of their settings.

    Attributes:
        needs: what the process must be able to do; checked when an experiment is built.
        order: the order of convergence of a deterministic predictor, confirmed by a test; None: stochastic.
        encodes: it moves from data to noise (s noisier than t).
    """

    needs: ClassVar[type] = Process
    order: ClassVar[int | None] = None
    encodes: ClassVar[bool] = False

    @abc.abstractmethod
    def update_fn(self, model: Model, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Step:
        """One step.

        Args:
            model: gives predictions and the process.
            x: states at ``t``, (B, ...).
            t, s: now and where to go, (B,).
            noise: the samples' streams.
        """


class Corrector(abc.ABC):
    """Moves a state at time ``t`` towards the marginal p_t, by Markov chain Monte Carlo on the score.

    Attributes:
        needs: what the process must be able to do; checked when an experiment is built.
    """

    needs: ClassVar[type] = Process

    @abc.abstractmethod
    def update_fn(self, model: Model, x: Tensor, t: Tensor, noise: Noise) -> Step:
        """One sub-step; arguments as for a predictor."""


class Constraint(abc.ABC):
    """Projects a state onto what is known of it. Applied after every sub-step of a sampler."""

    needs: ClassVar[type] = GaussianProcess

    @abc.abstractmethod
    def project(self, step: Step, process: Process, t: Tensor, noise: Noise) -> Step:
        """The step with its ``x`` and its ``mean`` each projected from itself, at time ``t`` (B,)."""


register_predictor: Registry[Predictor] = Registry("predictor")
register_corrector: Registry[Corrector] = Registry("corrector")
