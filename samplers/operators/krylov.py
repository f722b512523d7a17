"""Conjugate gradients on a batch of systems, each sample its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sde_lib.base import expand


def conjugate_gradients(matrix: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """x with M x = b for symmetric positive semi-definite M and b in its range, (B, ...).

    A fixed number of iterations from zero, so that no value is read from the device; a sample that has
    converged stays as it is. Exact, up to rounding, once the iterations reach the number of M's distinct
    non-zero eigenvalues (Hestenes & Stiefel 1952).

    Args:
        matrix: v -> M v on (B, ...), per sample.
        b: right-hand sides.
        iterations: at least 1.
    """
    x, r = torch.zeros_like(b), b
    p, rr = r, _dot(r, r)
    # Below rounding a residual is noise, and its direction would be followed to nonsense.
    enough = rr * torch.finfo(b.dtype).eps ** 2
    for _ in range(iterations):
        Mp = matrix(p)
        curvature = _dot(p, Mp)
        going = (rr > enough) & (curvature > 0)
        step = torch.where(going, rr / torch.where(going, curvature, 1), 0)
        x, r = x + expand(step, b) * p, r - expand(step, b) * Mp
        rr_next = _dot(r, r)
        p = r + expand(torch.where(going, rr_next / torch.where(going, rr, 1), 0), b) * p
        rr = torch.where(going, rr_next, 0)
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
