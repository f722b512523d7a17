"""Restoration of measured images and editing of images, batch by batch, as ``--mode control`` does them."""

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
    """A measurement of images and its inversion; all images are in the range of the data's, ``DataSpec.shown``."""

    @abc.abstractmethod
    def measure(self, x: Tensor, noise: Noise) -> Tensor:
        """The measurements of images (B, C, H, W), from which ``restore`` works; ``noise`` has one stream for each."""

    @abc.abstractmethod
    def restore(self, y: Tensor, noise: Noise, /, **cond: Any) -> SampleResult:
        """One result (B, C, H, W) for each measurement; ``noise`` has one stream for each result.

        Conditions of the network may have any name, ``y`` of its classes too.
        """

    @abc.abstractmethod
    def with_times(self, times: Tensor) -> Restoration:
        """The same restoration with the sampler on other times, as many as before."""

    @abc.abstractmethod
    def shown(self, y: Tensor) -> Tensor | None:
        """Measurements as images, for pictures; None where the measurements are the images themselves."""

    @abc.abstractmethod
    def residual(self, x: Tensor, y: Tensor) -> Tensor | None:
        """Distance between the measurements of results and ``y``, (B,); None where nothing is measured."""

    @property
    def pullbacks(self) -> int:
        """Number of vector-Jacobian products of the network so far, which ``nfe`` does not count."""
        return 0


@dataclass(frozen=True)
class LinearRestoration(Restoration):
    """A linear measurement y = A x + noise, and a method that samples the posterior of x given y.

    Args:
        operator: the linear operator A.
        noise_std: standard deviation of the measurement's noise, in the range of the images.
        data: the data set, of the images or of their latents.
        method: samples the posterior of what the network sees.
    """

    operator: LinearOperator
    noise_std: float
    data: DataSpec
    method: Method

    def measure(self, x: Tensor, noise: Noise) -> Tensor:
        return self.operator.measure(x, noise, self.noise_std)

    def restore(self, y: Tensor, noise: Noise, /, **cond: Any) -> SampleResult:
        found = self.method.sample((len(y), *self.data.shape), y, noise, **cond)
        return replace(found, x=self.method.finished(self.data.decoded(found.x), y))

    def with_times(self, times: Tensor) -> LinearRestoration:
        return replace(self, method=self.method.with_times(times))

    def shown(self, y: Tensor) -> Tensor:
        """Measurements with grey where nothing is known. One that is no image is shown by its pseudo-inverse."""
        if tuple(y.shape[1:]) != self.data.shown.shape:
            return self.operator.pseudo_inverse(y)
        unknown = 1 - self.operator.restrict(torch.ones_like(y))
        return y + unknown * self.data.shown.from_intensity(torch.tensor(0.5))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """Root mean square of A x - y over what is measured; for the true image it is ``noise_std``."""
        difference = self.operator.apply(x) - self.operator.restrict(y)
        measured = self.operator.restrict(torch.ones_like(y)).flatten(1).sum(1)
        return (difference.square().flatten(1).sum(1) / measured.clamp(min=1)).sqrt()

    @property
    def pullbacks(self) -> int:
        return self.method.pullbacks


class Method(abc.ABC):
    """A sampler of the posterior given a measurement."""

    @abc.abstractmethod
    def sample(self, shape: tuple[int, ...], y: Tensor, noise: Noise, /, **cond: Any) -> SampleResult:
        """Samples of the given shape (B, ...), sample b given measurement ``y[b]``."""

    @abc.abstractmethod
    def with_times(self, times: Tensor) -> Method:
        """As of ``Restoration``."""

    def finished(self, x: Tensor, y: Tensor) -> Tensor:
        """The results of images (B, C, H, W) that were sampled given ``y``."""
        return x

    @property
    def pullbacks(self) -> int:
        """As of ``Restoration``."""
        return 0


@dataclass(frozen=True)
class Projected(Method):
    """Projects the state onto the noised measurement after every sub-step of the sampler.

    Args:
        sampler: the sampler without the constraint.
        operator, noise_std: see ``LinearRestoration``.
        walk: changes the order in which the sampler visits its times (RePaint), or returns it unchanged.
    """

    sampler: PCSampler
    operator: LinearOperator
    noise_std: float
    walk: Callable[[PCSampler], PCSampler]

    def sample(self, shape: tuple[int, ...], y: Tensor, noise: Noise, /, **cond: Any) -> SampleResult:
        constraint = Replacement(self.operator, y, self.noise_std)
        constrained = replace(self.sampler, constraints=(*self.sampler.constraints, constraint))
        return self.walk(constrained).sample(shape, noise, **cond)

    def with_times(self, times: Tensor) -> Projected:
        return replace(self, sampler=replace(self.sampler, times=times))


@dataclass(frozen=True)
class ProjectedLatents(Method):
    """Projects latents onto those of the measurement, where these depend on known pixels alone, and in the end the
    images onto the measurement itself (blended latent diffusion, Avrahami et al. 2023, section 3.1).

    Unknown pixels are grey where the measurement is encoded. A cell of latents next to them may have seen that.

    Args:
        within: of the latents, given theirs.
        operator: of the images.
        data: whose latents they are.
    """

    within: Projected
    operator: LinearOperator
    data: DataSpec

    def sample(self, shape: tuple[int, ...], y: Tensor, noise: Noise, /, **cond: Any) -> SampleResult:
        z = self.within.operator.restrict(self.data.seen(y))
        return self.within.sample(shape, z, noise, **cond)

    def with_times(self, times: Tensor) -> ProjectedLatents:
        return replace(self, within=self.within.with_times(times))

    def finished(self, x: Tensor, y: Tensor) -> Tensor:
        return self.operator.replace(x, y)


@dataclass(frozen=True)
class Wrapped(Method):
    """Samples with a model of the posterior score in place of the prior's.

    Args:
        sampler: a sampler of either kind.
        posterior: the model of the posterior, which wraps the prior's.
    """

    sampler: PCSampler | ODESampler
    posterior: PosteriorModel

    def sample(self, shape: tuple[int, ...], y: Tensor, noise: Noise, /, **cond: Any) -> SampleResult:
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
    """SDEdit (Meng et al. 2022): noises an image to an intermediate time and samples from there.

    Args:
        sampler: the sampler, which starts in the middle of its grid.
        strength: share of the way to pure noise, in (0, 1].
        data: the data set, of the images or of their latents.
    """

    sampler: PCSampler
    strength: float
    data: DataSpec

    def measure(self, x: Tensor, noise: Noise) -> Tensor:
        return x

    def restore(self, y: Tensor, noise: Noise, /, **cond: Any) -> SampleResult:
        found = sdedit(self.sampler, self.data.seen(y), self.strength, noise, **cond)
        return replace(found, x=self.data.decoded(found.x))

    def with_times(self, times: Tensor) -> NoisedEdit:
        return replace(self, sampler=replace(self.sampler, times=times))

    def shown(self, y: Tensor) -> None:
        return None

    def residual(self, x: Tensor, y: Tensor) -> None:
        return None
