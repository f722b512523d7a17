"""Exact scores of simple data under any Gaussian process: the oracles of this project, usable as networks."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from models.base import Network, OutputKind, TimeLabel, register_model
from models.blocks.conditioning import refuse_unknown
from models.prediction.classifier import Classifier
from sde_lib.base import GaussianProcess, Process, expand
from sde_lib.noise import Noise


@dataclass(frozen=True)
class Modes:
    """The density of data p_0 as a mixture of Gaussians with independent coordinates.

    Attributes:
        means, stds: of each mode and coordinate, (K, D), float64.
        weights: (K,), float64; they sum to one.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor


class ExactScore(Network):
    """The exact score of diffused data of known density p_0, as a network.

    Args:
        process: what diffuses the data; one with a Gaussian marginal.
    """

    output_kind: ClassVar[OutputKind] = "score"
    time_label: ClassVar[TimeLabel] = "time"
    has_weights: ClassVar[bool] = False
    process: GaussianProcess

    def __init__(self, process: Process) -> None:
        super().__init__()
        if not isinstance(process, GaussianProcess):
            raise ValueError(
                f"an exact score needs a process with a Gaussian marginal, and "
                f"{type(process).__name__} has none; choose another training.sde."
            )
        self.process = process

    @abc.abstractmethod
    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Exact draws from p_0, of the given shape (B, ...)."""

    def classes(self, count: int, noise: Noise) -> Tensor:
        """The classes (count,) of the samples that ``draw`` gives for streams like ``noise``; zeros without classes."""
        return torch.zeros(count, dtype=torch.int64, device=noise.device)

    @abc.abstractmethod
    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """log p_0(x), or log p_0(x | y) given classes (B,), in nats, (B,), float64."""

    def modes(self, shape: Sequence[int]) -> Modes:
        """The mixture p_0 for samples of the given shape (without the batch), flattened.

        Raises:
            ValueError: it is no sum of Gaussians with independent coordinates.
        """
        raise ValueError(
            f"{type(self).__name__} is not a mixture with independent coordinates; choose another model."
        )


@register_model(name="gaussian")
class GaussianScore(ExactScore):
    """The exact score of Gaussian data N(mean, std^2 I): -(x - alpha mean) / (alpha^2 std^2 + sigma^2).

    Args:
        process: what diffuses the data.
        mean, std: numbers, or arrays that broadcast against a sample.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        process: Process,
        mean: float | Sequence[Any] | Tensor = 0.0,
        std: float | Sequence[Any] | Tensor = 0.5,
    ) -> None:
        super().__init__(process)
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64), persistent=False)
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float64), persistent=False)
        if not bool((self.std > 0).all()):
            raise ValueError(f"a Gaussian's standard deviation must be positive, got {std}.")

    def check_shape(self, shape: Sequence[int]) -> None:
        for name, array in (("mean", self.mean), ("std", self.std)):
            try:
                fits = torch.broadcast_shapes(array.shape, tuple(shape)) == torch.Size(shape)
            except RuntimeError:
                fits = False
            if not fits:
                raise ValueError(
                    f"the Gaussian's {name} has shape {tuple(array.shape)}, which does not broadcast to a "
                    f"sample of shape {tuple(shape)}; give a number or an array of that shape."
                )

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        return self.mean.to(noise.dtype) + self.std.to(noise.dtype) * noise.normal(shape)

    def modes(self, shape: Sequence[int]) -> Modes:
        means, stds = (value.expand(tuple(shape)).reshape(1, -1) for value in (self.mean, self.std))
        return Modes(means, stds, torch.ones(1, dtype=torch.float64))

    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        z = (x.double() - self.mean) / self.std
        return -(0.5 * z.square() + self.std.log() + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        refuse_unknown(cond, "none")
        m = self.process.marginal(self.process.time(labels))
        alpha, sigma = expand(m.alpha, x), expand(m.sigma, x)
        mean, std = self.mean.to(x.dtype), self.std.to(x.dtype)
        return (alpha * mean - x) / ((alpha * std) ** 2 + sigma**2)


@dataclass(frozen=True)
class _Modes:
    """Of each diffused mode: its centre less the state (B, K, D), its variance (B, K), log p(x_t, k) (B, K)."""

    offsets: Tensor
    variances: Tensor
    log_joint: Tensor


@register_model(name="gaussian_mixture")
class GaussianMixtureScore(ExactScore):
    """The exact score of a Gaussian mixture sum_k w_k N(mean_k, std_k^2 I).

    It is the mean of the scores of the diffused modes, weighted by their responsibilities.

    With classes, mode k is class k: conditioning ``y`` (B,) asks for the score of that mode alone, and the
    label K for that of the whole mixture.

    Args:
        process: what diffuses the data.
        means: (K, D): D is the number of elements of a sample, whatever its shape.
        stds: one number, or (K,).
        weights: (K,), normalised here; equal when left out.
        num_classes: K, or K + 1 with the label of the whole; None: no classes.
    """

    null_label: ClassVar[bool] = True

    means: Tensor
    stds: Tensor
    log_weights: Tensor

    def __init__(
        self,
        *,
        process: Process,
        means: Sequence[Sequence[float]] | Tensor,
        stds: float | Sequence[float] = 0.1,
        weights: Sequence[float] | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(process)
        centres = torch.as_tensor(means, dtype=torch.float64)
        if centres.ndim != 2:
            raise ValueError(f"means must be (K, D), one row a mode, got shape {tuple(centres.shape)}.")
        count = len(centres)
        w = torch.as_tensor([1.0] * count if weights is None else list(weights), dtype=torch.float64)
        s = torch.as_tensor(stds, dtype=torch.float64).expand(count)
        if len(w) != count or not bool((w > 0).all()) or not bool((s > 0).all()):
            raise ValueError(
                f"a mixture of {count} modes needs {count} positive weights and standard deviations."
            )
        if num_classes not in (None, count, count + 1):
            raise ValueError(
                f"a mixture's classes are its {count} modes: set model.num_classes to {count}, or to 0 for none."
            )
        self.num_classes = num_classes
        self.register_buffer("means", centres, persistent=False)
        self.register_buffer("stds", s.clone(), persistent=False)
        self.register_buffer("log_weights", (w / w.sum()).log(), persistent=False)

    def check_shape(self, shape: Sequence[int]) -> None:
        size = int(torch.Size(shape).numel())
        if size != self.means.shape[1]:
            raise ValueError(
                f"the mixture's modes have {self.means.shape[1]} elements but a sample of shape "
                f"{tuple(shape)} has {size}; give means of {size} columns or change the data's shape."
            )

    def classes(self, count: int, noise: Noise) -> Tensor:
        u = noise.uniform((count, 1)).double()
        bounds = self.log_weights.exp().cumsum(0)[:-1]
        return torch.searchsorted(bounds, u[:, 0], right=True)

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        mode = self.classes(shape[0], noise)
        z = noise.normal(shape).flatten(1)
        x = self.means[mode].to(z.dtype) + self.stds[mode].to(z.dtype)[:, None] * z
        return x.reshape(tuple(shape))

    def modes(self, shape: Sequence[int]) -> Modes:
        return Modes(self.means, self.stds[:, None].expand_as(self.means), self.log_weights.exp())

    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        offsets = x.double().flatten(1)[:, None, :] - self.means
        squares = offsets.square().sum(2) / self.stds**2
        log_volume = offsets.shape[2] * (self.stds.log() + 0.5 * math.log(2 * math.pi))
        each = -0.5 * squares - log_volume
        return (self.log_weights + each).logsumexp(1) if y is None else each.gather(1, y[:, None])[:, 0]

    def _at(self, x: Tensor, t: Tensor) -> _Modes:
        m = self.process.marginal(t)
        flat = x.flatten(1)
        alpha, sigma = m.alpha.to(x.dtype)[:, None], m.sigma.to(x.dtype)[:, None]
        variances = (alpha * self.stds.to(x.dtype)) ** 2 + sigma**2
        offsets = alpha[:, :, None] * self.means.to(x.dtype) - flat[:, None, :]
        log_joint = (
            self.log_weights.to(x.dtype)
            - 0.5 * offsets.square().sum(2) / variances
            - 0.5 * flat.shape[1] * variances.log()
        )
        return _Modes(offsets, variances, log_joint)

    def log_joint(self, x: Tensor, t: Tensor) -> Tensor:
        """log p(x_t, k) of each mode, up to the same constant: (B, K)."""
        return self._at(x, t).log_joint

    def forward(self, x: Tensor, labels: Tensor, *, y: Tensor | None = None, **cond: Any) -> Tensor:
        refuse_unknown(cond, "y")
        if (y is None) != (self.num_classes is None):
            raise ValueError(
                f"a mixture with {self.num_classes or 'no'} classes was given "
                f"{'no' if y is None else 'class'} labels y; set num_classes and give y, or neither."
            )
        modes = self._at(x, self.process.time(labels))
        log_joint = modes.log_joint
        if y is not None:
            count = log_joint.shape[1]
            among = (torch.arange(count, device=y.device) == y[:, None]) | (y[:, None] == count)
            log_joint = log_joint.masked_fill(~among, -math.inf)
        responsibilities = log_joint.softmax(1) / modes.variances
        return (responsibilities[:, :, None] * modes.offsets).sum(1).reshape(x.shape)


@final
class MixtureClassifier(Classifier):
    """The exact classifier p(k | x_t) of a mixture's modes, by Bayes' rule.

    Args:
        mixture: whose modes are the classes.
    """

    def __init__(self, mixture: GaussianMixtureScore) -> None:
        super().__init__()
        self.mixture, self.process = mixture, mixture.process

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.mixture.log_joint(x, t)
