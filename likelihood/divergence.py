"""The trace of a Jacobian, exactly or estimated, from the same pass that gives the function's value.

Products are vector-Jacobian products. For one probe, value and trace cost one forward and one backward
pass; further probes cost a backward pass each, batched into one, and share the forward pass. On the U-Nets of
the digits at 8x8, in float32 on a CPU, Jacobian-vector products cost two to three times as much (and exclude
fused attention, without a forward-mode rule): ``benchmarks/divergence.py``, figures in its RESULTS.md.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from sde_lib.noise import Noise
from sde_lib.settings import Range, check_settings

Probe = Literal["rademacher", "gaussian"]
"""The distribution of a probe: independent elements of mean 0 and variance 1."""


@dataclass(frozen=True)
class Linearised:
    """A function's value, (b, ...), and estimates of the trace of its Jacobian, (b, K) in float64."""

    value: Tensor
    trace: Tensor


def draw_probes(kind: Probe, count: int, x: Tensor, noise: Noise) -> Tensor:
    """(B, count, D) probes in the precision of ``x``, each sample's from its own stream."""
    draw = {"rademacher": noise.rademacher, "gaussian": noise.normal}[kind]
    size = x[0].numel()
    # A draw for each, so that the first probe does not depend on how many follow.
    return torch.stack([draw((len(x), size)) for _ in range(count)], dim=1).to(x)


def _pull_back(value: Tensor, x: Tensor, vectors: Tensor, *, more: bool = False) -> Tensor:
    """(b, K, D) vectors times the Jacobian of ``value`` at ``x``: one batched backward pass.

    Unless ``more`` passes follow, this one frees what the forward pass stored as it goes.
    """
    seeds = vectors.transpose(0, 1).reshape(vectors.shape[1], *value.shape)
    if len(seeds) == 1:
        # Passing the seed as grad_outputs would import torch's symbolic shapes: 25 MB for nothing.
        (product,) = torch.autograd.grad((value * seeds[0]).sum(), x, retain_graph=more)
        return product.flatten(1)[:, None]
    (product,) = torch.autograd.grad(value, x, seeds, retain_graph=more, is_grads_batched=True)
    return product.flatten(2).transpose(0, 1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() * b.double()).sum(-1)


class Divergence(abc.ABC):
    """An estimator of the trace of a Jacobian. Implementations are frozen dataclasses of their settings."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    @abc.abstractmethod
    def num_estimates(self) -> int:
        """K: how many independent estimates a sample gets; their spread is the reported standard error."""

    @property
    def exact(self) -> bool:
        """Whether the trace is exact: it has no error and needs no probes."""
        return False

    @abc.abstractmethod
    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        """The probes (B, P, D) that stay the same along a trajectory."""

    @abc.abstractmethod
    def trace(self, value: Tensor, x: Tensor, probes: Tensor) -> Tensor:
        """(b, K) estimates from ``value``, a differentiable function of ``x``."""

    def excess(self, probes: Tensor) -> Tensor | float:
        """The estimates for the Jacobian I, less its trace: of mean zero, hence a control variate."""
        return 0.0

    def __call__(
        self, f: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor, slope: Tensor | None = None
    ) -> Linearised:
        """Value and trace of ``f`` at ``x`` (b, ...), from one evaluation of ``f``.

        ``slope`` (b,) says that the Jacobian is thought to be near slope I, whose trace is known: the error
        that the probes make on it is taken off. Whatever the slope, the estimate stays unbiased.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            value = f(x)
            trace = (
                self.trace(value, x, probes)
                if value.requires_grad
                else x.new_zeros(len(x), self.num_estimates)
            )
        trace = trace.detach().double()
        if slope is not None:
            trace = trace - slope[:, None] * self.excess(probes)
        return Linearised(value.detach(), trace)


@dataclass(frozen=True)
class Hutchinson(Divergence):
    """tr J = E[e^T J e] (Hutchinson 1990; for flows Grathwohl et al. 2019, eq. 7).

    Rademacher probes see no noise from the diagonal of J; Gaussian ones add twice its square, which a known
    slope mostly takes away.

    Args:
        probe: distribution of the probes.
        num_probes: number of independent estimates of each sample's trace.

    Raises:
        ValueError: an unknown distribution or no probe.
    """

    probe: Probe = "rademacher"
    num_probes: Annotated[int, Range(least=1)] = 1

    @property
    def num_estimates(self) -> int:
        return self.num_probes

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        return draw_probes(self.probe, self.num_probes, x, noise)

    def trace(self, value: Tensor, x: Tensor, probes: Tensor) -> Tensor:
        return _dot(_pull_back(value, x, probes), probes)

    def excess(self, probes: Tensor) -> Tensor:
        return _dot(probes, probes) - probes.shape[2]


@dataclass(frozen=True)
class HutchPlusPlus(Divergence):
    """tr J = tr(Q^T J Q) + tr of the rest, which is estimated (Meyer et al. 2021, algorithm 1).

    Q spans J^T S for a sketch S of ``rank`` Rademacher vectors. Given Q the estimate is unbiased, so it is
    unbiased. Worth its price where few eigenvalues carry the Jacobian, such as data near a low-dimensional
    surface. Costs two products for each vector of the sketch and one for each probe.

    Args:
        rank: number of vectors of the sketch.
        num_probes: number of independent estimates of the trace of the rest.

    Raises:
        ValueError: fewer than one of either.
    """

    rank: Annotated[int, Range(least=1)] = 4
    num_probes: Annotated[int, Range(least=1)] = 4

    @property
    def num_estimates(self) -> int:
        return self.num_probes

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        size = x[0].numel()
        if self.rank >= size:
            raise ValueError(
                f"Hutch++ of rank {self.rank} on {size} dimensions is no saving: use ExactTrace."
            )
        return draw_probes("rademacher", self.rank + self.num_probes, x, noise)

    def trace(self, value: Tensor, x: Tensor, probes: Tensor) -> Tensor:
        sketch, probes = probes[:, : self.rank], probes[:, self.rank :]
        image = _pull_back(value, x, sketch, more=True)
        q = torch.linalg.qr(image.transpose(1, 2)).Q.transpose(1, 2)  # (b, rank, D), orthonormal rows
        captured = _dot(_pull_back(value, x, q, more=True), q).sum(1, keepdim=True)
        rest = probes - (probes @ q.transpose(1, 2)) @ q
        return captured + _dot(_pull_back(value, x, rest), rest)


@dataclass(frozen=True)
class ExactTrace(Divergence):
    """The trace itself, by one product for each dimension: for small dimensions and for tests.

    Args:
        chunk: number of products in one backward pass, which bounds the memory.
    """

    chunk: Annotated[int, Range(least=1)] = 64

    @property
    def num_estimates(self) -> int:
        return 1

    @property
    def exact(self) -> bool:
        return True

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        return x.new_zeros(len(x), 0, x[0].numel())

    def trace(self, value: Tensor, x: Tensor, probes: Tensor) -> Tensor:
        size = x[0].numel()
        total = torch.zeros(len(x), 1, dtype=torch.float64, device=x.device)
        chunks = torch.eye(size, dtype=x.dtype, device=x.device).split(self.chunk)
        for i, units in enumerate(chunks):
            rows = units.expand(len(x), -1, -1)
            total += _dot(_pull_back(value, x, rows, more=i + 1 < len(chunks)), units).sum(1, keepdim=True)
        return total
