"""What is done with a batch of images in ``--mode control``: measured and restored, or edited."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from run_lib.data.levels import DataSpec
from samplers.constraints import Replacement
from samplers.editing import sdedit
from samplers.inverse import PosteriorModel
from samplers.ode import ODESampler
from samplers.operators import LinearOperator
from samplers.pc import PCSampler, SampleResult
from sde_lib.noise import Noise


class Restoration(abc.ABC):
    """How results are made of images, all in the network's range."""

    @abc.abstractmethod
    def measure(self, x: Tensor, noise: Noise) -> Tensor:
        """What is left of the images (B, C, H, W): all that ``restore`` is given. ``noise`` has a stream each."""

    @abc.abstractmethod
    def restore(self, y: Tensor, noise: Noise, **cond: Any) -> SampleResult:
        """Results (B, C, H, W) of measurements; ``noise`` has a stream for each result."""

    @abc.abstractmethod
    def with_times(self, times: Tensor) -> Restoration:
        """The same along other times, of as many steps."""

    @abc.abstractmethod
    def shown(self, y: Tensor) -> Tensor | None:
        """Measurements as images; None where they are the images themselves."""

    @abc.abstractmethod
    def residual(self, x: Tensor, y: Tensor) -> Tensor | None:
        """How far results are from measuring ``y``, (B,); None where nothing is measured."""

    @property
    def pullbacks(self) -> int:
        """Vector-Jacobian products of the network so far, which ``nfe`` does not count."""
        return 0


@dataclass(frozen=True)
class LinearRestoration(Restoration):
    """A linear measurement and a method to sample what it may have been of.

    Args:
        operator: A, with its tables on the device.
        noise_std: of the measurement.
        data: what the images are.
        method: how it is sampled.
    """

    operator: LinearOperator
    noise_std: float
    data: DataSpec
    method: Method

    def measure(self, x: Tensor, noise: Noise) -> Tensor:
        return self.operator.measure(x, noise, self.noise_std)

    def restore(self, y: Tensor, noise: Noise, **cond: Any) -> SampleResult:
        return self.method.sample((len(y), *self.data.shape), y, noise, **cond)

    def with_times(self, times: Tensor) -> LinearRestoration:
        return replace(self, method=self.method.with_times(times))

    def shown(self, y: Tensor) -> Tensor:
        """Grey where nothing is known; what is no image by its pseudo-inverse."""
        if tuple(y.shape[1:]) != self.data.shape:
            return self.operator.pseudo_inverse(y)
        unknown = 1 - self.operator.restrict(torch.ones_like(y))
        return y + unknown * self.data.from_intensity(torch.tensor(0.5))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """Root of the mean square of A x - y over what is measured: noise_std for the truth."""
        difference = self.operator.apply(x) - self.operator.restrict(y)
        measured = self.operator.restrict(torch.ones_like(y)).flatten(1).sum(1)
        return (difference.square().flatten(1).sum(1) / measured.clamp(min=1)).sqrt()

    @property
    def pullbacks(self) -> int:
        return self.method.pullbacks


class Method(abc.ABC):
    """Samples of the posterior given a measurement."""

    @abc.abstractmethod
    def sample(self, shape: tuple[int, ...], y: Tensor, noise: Noise, **cond: Any) -> SampleResult:
        """``shape`` = (B, ...) samples given ``y``, one row each."""

    @abc.abstractmethod
    def with_times(self, times: Tensor) -> Method:
        """As of ``Restoration``."""

    @property
    def pullbacks(self) -> int:
        """As of ``Restoration``."""
        return 0


@dataclass(frozen=True)
class Projected(Method):
    """The state is projected onto the measurement after every sub-step.

    Args:
        sampler: without the constraint.
        operator, noise_std: of the measurement.
        walk: changes the sampler's way along its grid (RePaint), or not.
    """

    sampler: PCSampler
    operator: LinearOperator
    noise_std: float
    walk: Callable[[PCSampler], PCSampler]

    def sample(self, shape: tuple[int, ...], y: Tensor, noise: Noise, **cond: Any) -> SampleResult:
        constraint = Replacement(self.operator, y, self.noise_std)
        constrained = replace(self.sampler, constraints=(*self.sampler.constraints, constraint))
        return self.walk(constrained).sample(shape, noise, **cond)

    def with_times(self, times: Tensor) -> Projected:
        return replace(self, sampler=replace(self.sampler, times=times))


@dataclass(frozen=True)
class Wrapped(Method):
    """The model is wrapped in one of the posterior.

    Args:
        sampler: of any kind.
        posterior: the wrapped model.
    """

    sampler: PCSampler | ODESampler
    posterior: PosteriorModel

    def sample(self, shape: tuple[int, ...], y: Tensor, noise: Noise, **cond: Any) -> SampleResult:
        return replace(self.sampler, model=self.posterior).sample(shape, noise, measurement=y, **cond)

    def with_times(self, times: Tensor) -> Wrapped:
        if not isinstance(self.sampler, PCSampler):
            return self
        return replace(self, sampler=replace(self.sampler, times=times))

    @property
    def pullbacks(self) -> int:
        return self.posterior.pullbacks


@dataclass(frozen=True)
class NoisedEdit(Restoration):
    """SDEdit: the image noised to an intermediate time, and sampled on from there.

    Args:
        sampler: starts in the middle of its grid.
        strength: in (0, 1].
    """

    sampler: PCSampler
    strength: float

    def measure(self, x: Tensor, noise: Noise) -> Tensor:
        return x

    def restore(self, y: Tensor, noise: Noise, **cond: Any) -> SampleResult:
        return sdedit(self.sampler, y, self.strength, noise, **cond)

    def with_times(self, times: Tensor) -> NoisedEdit:
        return replace(self, sampler=replace(self.sampler, times=times))

    def shown(self, y: Tensor) -> None:
        return None

    def residual(self, x: Tensor, y: Tensor) -> None:
        return None
