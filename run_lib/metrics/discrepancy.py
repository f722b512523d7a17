"""Maximum mean discrepancy: the distance of two sets' mean embeddings by a kernel, and its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Of (A, D) and (B, D), both float64: (A, B)."""
ROWS = 2048
"""Of either set in a block: 50,000 x 50,000 values are never held."""


@dataclass(frozen=True)
class Discrepancy:
    """The squared maximum mean discrepancy of two sets, of N and M vectors, and its variance over sets of the first.

    Attributes:
        unbiased: mean of k over pairs of different samples, and over such of the reference, less twice that over
            pairs of both (Gretton et al. 2012, eq. 3); it may be negative.
        biased: the same with pairs of a vector and itself (their eq. 5).
        linear: variance over samples of their mean kernel with other samples less that with the reference (unbiased,
            so it may be negative); 4 linear / N is the greater part of the variance.
        pairwise: variance of the kernel of two samples beyond what each alone explains.
    """

    unbiased: float
    biased: float
    linear: float
    pairwise: float

    def variance(self, count: int) -> float:
        """Of the unbiased estimate with so many samples and the reference held fixed (Hoeffding 1948, eq. 5.13)."""
        return 4 * max(self.linear, 0.0) / count + 2 * max(self.pairwise, 0.0) / (count * (count - 1))

    def stderr(self, count: int) -> float:
        return math.sqrt(self.variance(count))


def discrepancy(
    samples: np.ndarray, reference: np.ndarray, kernel: Kernel, drawn: float = 0.0
) -> Discrepancy:
    """The squared maximum mean discrepancy of samples (N, D) from a reference (M, D); N >= 4, M >= 2.

    Args:
        samples: may stay on disk.
        reference: may stay on disk.
        kernel: symmetric.
        drawn: 1 - M / (size of the whole reference), where this is a part of it drawn at random: ``linear`` is then
            that of the whole.
    """
    own, cross, theirs = (
        _sums(a, b, kernel) for a, b in ((samples, None), (samples, reference), (reference, None))
    )
    n, m = len(samples), len(reference)
    among, across = own.rows / (n - 1), cross.rows / m
    # k(x, x') = mean + a(x) + a(x') + rest, with uncorrelated terms: the variances of a and of the rest, without bias,
    # from those within rows of the kernel's matrix and of its rows' means, which share every value with another row.
    within = float((own.squares - own.rows * among).mean() / (n - 2))
    alone = (_variance(among) * (n - 1) ** 2 - within * (n - 2)) / ((n - 2) * (n - 3))
    rest = within - alone
    # The same of the kernel less its means with the reference, of which only a changes.
    linear = _variance(among - across * ((n - 2) / (n - 1))) * (n - 1) ** 2 / (n - 2) ** 2 - rest / (n - 2)
    if drawn:
        sums = cross.squares.sum() - cross.rows @ across - (cross.columns @ cross.columns) / n
        linear -= drawn / m * float(sums + cross.rows.sum() ** 2 / (n * m)) / ((n - 1) * (m - 1))
    unbiased = among.mean() + theirs.rows.sum() / (m * (m - 1)) - 2 * across.mean()
    biased = (own.rows.sum() + own.diagonal) / n**2 + (theirs.rows.sum() + theirs.diagonal) / m**2
    return Discrepancy(float(unbiased), float(biased - 2 * across.mean()), linear, rest)


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1))


@dataclass(frozen=True)
class _Sums:
    """Of a kernel's matrix, without the diagonal: sums of rows, of columns and of rows' squares; the diagonal's sum."""

    rows: np.ndarray
    columns: np.ndarray
    squares: np.ndarray
    diagonal: float


def _sums(a: np.ndarray, b: np.ndarray | None, kernel: Kernel) -> _Sums:
    """With ``b``, of the matrix of two sets, which has no diagonal."""
    others = a if b is None else b
    rows, squares, columns, diagonal = np.zeros(len(a)), np.zeros(len(a)), np.zeros(len(others)), 0.0
    for first in range(0, len(a), ROWS):
        block = _float64(a[first : first + ROWS])
        for start in range(0, len(others), ROWS):
            values = kernel(block, _float64(others[start : start + ROWS]))
            if b is None and start == first:
                diagonal += float(values.diagonal().sum())
                values.fill_diagonal_(0.0)
            rows[first : first + len(block)] += values.sum(1).numpy()
            columns[start : start + values.shape[1]] += values.sum(0).numpy()
            squares[first : first + len(block)] += values.square().sum(1).numpy()
    return _Sums(rows, columns, squares, diagonal)


def _float64(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float64))
