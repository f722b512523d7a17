"""A Brownian path: Gaussian with covariance min(u, v), and a function of stream and time alone."""

from __future__ import annotations

import math

import pytest
import torch

from sde_lib import Noise
from sde_lib.brownian import BrownianPath

SIZE = 4096


def path(samples: range = range(16), seed: int = 3) -> BrownianPath:
    return BrownianPath(Noise(seed, samples, dtype=torch.float64), (len(samples), SIZE))


def at(u: float, count: int = 16) -> torch.Tensor:
    return torch.full((count,), u, dtype=torch.float64)


def test_starts_at_zero_and_covariance_is_the_earlier_time() -> None:
    """Of n pairs, a covariance with variances u and v has standard error sqrt((u v + c^2) / n)."""
    w, times = path(), [0.01, 0.3, 0.3004, 0.5, 0.77, 1.0]
    assert not w(at(0.0)).any()
    values = {u: w(at(u)).flatten() for u in times}
    n = 16 * SIZE
    for u in times:
        for v in times:
            c = min(u, v)
            found = (values[u] * values[v]).mean().item()
            assert found == pytest.approx(c, abs=5 * math.sqrt((u * v + c * c) / n)), (u, v)


def test_short_increments_have_the_variance_of_their_length() -> None:
    """Steps of 2e-4 across a middle of the tree and off it: five standard errors of sqrt(2/n)."""
    w, h = path(), 2e-4
    for u in (0.5 - h / 2, 0.123):
        increment = w(at(u + h)) - w(at(u))
        assert increment.square().mean().item() == pytest.approx(h, rel=5 * math.sqrt(2 / (16 * SIZE)))


def test_the_path_is_the_same_in_any_order_of_asking() -> None:
    first, second = path(), path()
    forward = [first(at(u)) for u in (0.2, 0.6, 0.2)]
    assert torch.equal(forward[0], forward[2])
    assert torch.equal(second(at(0.6)), forward[1])


def test_each_sample_has_its_own_time_and_path() -> None:
    """Sample 5 in a batch, at its own time, is sample 5 alone; neighbours are uncorrelated."""
    w = path()
    u = torch.linspace(0.05, 0.95, 16, dtype=torch.float64)
    together = w(u)
    assert torch.equal(together[5], path(range(5, 6))(u[5:6])[0])
    r = torch.corrcoef(together[4:6])[0, 1].item()
    assert abs(r) < 5 / math.sqrt(SIZE)
