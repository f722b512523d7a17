"""Densities that people learn with, in closed form or by quadrature: moons, rolls, rings, squares, modes."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sde_lib.noise import Noise

Curve = Callable[[Tensor], Tensor]
"""A curve in the plane: (n,) positions in [0, 1] -> (n, 2) points, float64."""


@dataclass(frozen=True)
class Draws:
    """Points (B, D) in the noise's precision, and the class of each, (B,)."""

    x: Tensor
    labels: Tensor


class Density(abc.ABC):
    """A density of points (D,)."""

    @abc.abstractmethod
    def draw(self, noise: Noise) -> Draws:
        """A point for each of the noise's samples."""

    @abc.abstractmethod
    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """log p(x), or log p(x | y) given classes (B,), of points (B, D) in nats, (B,), float64."""


@dataclass(frozen=True)
class _Modes:
    """A Gaussian mixture of one width: the mode of each row of ``means`` (K, D), its share and its class, (K,)."""

    means: Tensor
    log_shares: Tensor
    labels: Tensor
    std: float

    def log_density(self, x: Tensor, y: Tensor | None) -> Tensor:
        flat = x.double().flatten(1)
        means, log_shares, labels = (part.to(x.device) for part in (self.means, self.log_shares, self.labels))
        modes = _Modes(means, log_shares, labels, self.std)
        # Some points at a time: the table of all points and modes would fill the memory.
        parts = [modes._of(part, None if y is None else y[at]) for at, part in _pieces(flat)]
        return torch.cat(parts)

    def _of(self, x: Tensor, y: Tensor | None) -> Tensor:
        # Differences, not the binomial: of narrow modes that would lose every digit.
        squares = sum(
            ((x[:, k, None] - self.means[:, k]) ** 2 for k in range(x.shape[1])), x.new_zeros(len(x), 1)
        )
        each = self.log_shares - squares / (2 * self.std**2)
        if y is not None:
            each = each.masked_fill(self.labels != y[:, None], -math.inf)
            each = (
                each - self.log_shares.masked_fill(self.labels != y[:, None], -math.inf).logsumexp(1)[:, None]
            )
        return each.logsumexp(1) - x.shape[1] * (0.5 * math.log(2 * math.pi) + math.log(self.std))


def _pieces(x: Tensor, size: int = 1024) -> list[tuple[slice, Tensor]]:
    return [(slice(k, k + size), x[k : k + size]) for k in range(0, len(x), size)]


@dataclass(frozen=True)
class NoisyCurves(Density):
    """Points of curves, each as likely and evenly in its position, with Gaussian noise; the class is the curve.

    The density is the curves' integral by Gauss and Legendre's rule, in pieces shorter than the noise is wide: exact to
    rounding.

    Args:
        curves: in the plane.
        std: standard deviation of the noise, above 0.
    """

    curves: Sequence[Curve]
    std: float

    def __post_init__(self) -> None:
        fine = torch.linspace(0, 1, 4097, dtype=torch.float64)
        means, logs, labels = [], [], []
        for label, curve in enumerate(self.curves):
            longest = float(curve(fine).diff(dim=0).norm(dim=1).max()) * (len(fine) - 1)
            at, shares = _rule(math.ceil(longest / self.std))
            means.append(curve(at))
            logs.append((shares / len(self.curves)).log())
            labels.append(torch.full_like(at, label, dtype=torch.int64))
        object.__setattr__(
            self, "_modes", _Modes(torch.cat(means), torch.cat(logs), torch.cat(labels), self.std)
        )

    def draw(self, noise: Noise) -> Draws:
        labels = noise.integers(len(self.curves))
        at = noise.uniform((len(noise), 1))[:, 0].double()
        points = torch.stack([curve(at) for curve in self.curves])
        clean = points[labels, torch.arange(len(noise), device=labels.device)]
        z = noise.normal((len(noise), 2))
        return Draws(clean.to(z.dtype) + self.std * z, labels)

    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        modes: _Modes = self._modes  # type: ignore[attr-defined]
        return modes.log_density(x, y)


def _rule(pieces: int, points: int = 8) -> tuple[Tensor, Tensor]:
    """Gauss and Legendre's rule in so many equal pieces of [0, 1]: positions and shares."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    start = np.arange(pieces)[:, None] / pieces
    at = (start + (nodes + 1) / (2 * pieces)).reshape(-1)
    return torch.from_numpy(at), torch.from_numpy(np.tile(weights / (2 * pieces), pieces))


@dataclass(frozen=True)
class GaussianModes(Density):
    """A mixture of Gaussians N(means_k, std^2 I), each as likely; the class is the mode.

    Args:
        means: (K, D), float64.
        std: of every mode and coordinate, above 0.
    """

    means: Tensor
    std: float

    def draw(self, noise: Noise) -> Draws:
        labels = noise.integers(len(self.means))
        z = noise.normal((len(noise), self.means.shape[1]))
        return Draws(self.means.to(labels.device)[labels].to(z.dtype) + self.std * z, labels)

    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        count = len(self.means)
        shares = torch.full((count,), -math.log(count), dtype=torch.float64)
        return _Modes(self.means, shares, torch.arange(count), self.std).log_density(x, y)


@dataclass(frozen=True)
class Checkerboard(Density):
    """Uniform on the dark squares of a board on [-1, 1]^2; all are of class 0. log p = -log 2 on them, -inf elsewhere.

    Args:
        squares: along a side, an even number.
    """

    squares: int

    def __post_init__(self) -> None:
        if self.squares < 2 or self.squares % 2:
            raise ValueError(
                f"a checkerboard has an even number of squares along a side; got {self.squares}."
            )

    def draw(self, noise: Noise) -> Draws:
        n = self.squares
        square = noise.integers(n * n // 2)
        row = square // (n // 2)
        column = 2 * (square % (n // 2)) + row % 2
        u = noise.uniform((len(noise), 2))
        corner = torch.stack([column, row], dim=1).to(u.dtype)
        return Draws(2 * (corner + u) / n - 1, torch.zeros_like(square))

    def log_density(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        place = torch.floor((x.double() + 1) / 2 * self.squares)
        inside = ((place >= 0) & (place < self.squares)).all(1)
        dark = (place.sum(1) % 2 == 0) & inside
        return torch.where(dark, -math.log(2), -math.inf).double()
