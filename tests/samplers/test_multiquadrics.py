"""``adams`` through multiquadrics, and with the predicted data kept where a state is corrected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.interpolate
import torch
from torch import Tensor

from models.base import Network
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import ExponentialAdams, PCSampler
from sde_lib import EDM, Noise
from sde_lib.exponential import lagrange, multiquadric
from sde_lib.grids import Explicit

AT = torch.linspace(-1, 2, 7, dtype=torch.float64)


def tensors(*values: float) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


@pytest.mark.parametrize("nodes", [(0.3,), (0.3, -0.5), (0.9, 0.1, -0.2, -1.4)])
def test_they_are_scipys(nodes: tuple[float, ...]) -> None:
    """scipy's multiquadrics with a constant, of 1 at one node and 0 at the others."""
    found = torch.stack(multiquadric(AT[:, None].expand(-1, 2), [n.expand(2) for n in tensors(*nodes)], 1.7))
    if len(nodes) == 1:
        assert found.eq(1).all()
        return
    scipys = scipy.interpolate.RBFInterpolator(
        np.array(nodes)[:, None], np.eye(len(nodes)), kernel="multiquadric", epsilon=1 / 1.7, degree=0
    )
    wanted = scipys(AT.numpy()[:, None]).T
    assert found.shape == (len(nodes), 7, 2)
    assert found.numpy() == pytest.approx(np.repeat(wanted[..., None], 2, 2), abs=1e-10)


def test_of_nodes_that_coincide_the_first_counts() -> None:
    first, again, other = multiquadric(AT, tensors(0.2, 0.2, -0.7), 2.0)
    alone = multiquadric(AT, tensors(0.2, -0.7), 2.0)
    assert again.eq(0).all()
    assert torch.stack([first, other]).numpy() == pytest.approx(torch.stack(alone).numpy(), abs=1e-12)


def test_wide_ones_are_polynomials() -> None:
    """Driscoll & Fornberg 2002: up to terms in 1 / shape^2, a quarter at twice the shape."""
    nodes = tensors(0.3, -0.1, -0.5)
    polynomials = torch.stack(lagrange(AT, nodes))
    near, nearer = (
        (torch.stack(multiquadric(AT, nodes, c)) - polynomials).abs().max() for c in (50.0, 100.0)
    )
    assert float(near / nearer) == pytest.approx(4, rel=0.01)
    assert nearer < 0.02


class Told(Network):
    """Data that the level alone says: x0 = 1 / (1 + sigma)."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return (1 / (1 + labels))[:, None].expand_as(x)


@pytest.mark.parametrize("kept", [False, True])
def test_a_corrected_state_keeps_its_data_or_its_view(kept: bool) -> None:
    """Two steps of order two in eps, by hand: the line in l through two values, integrated against -e^(-l)."""
    r0, r1, r2 = 4.0, 1.5, 0.8
    start = 3.0
    eps = [(start - 1 / (1 + r0)) / r0]
    predicted = start + (r1 - r0) * eps[0]
    at_predicted = (predicted - 1 / (1 + r1)) / r1
    slope = r1 - (r0 - r1) / np.log(r0 / r1)
    corrected = predicted + (at_predicted - eps[0]) * slope
    eps.append((corrected - 1 / (1 + r1)) / r1 if kept else at_predicted)
    wanted = corrected + (r2 - r1) * eps[1]

    process = EDM(sigma_max=4.0)
    model = NoiseModel(Told(), process, Time(process), "x0")
    adams = ExponentialAdams(2, "eps", corrected=True, keeps_data=kept)
    sampler = PCSampler.of(model, adams, num_steps=3, grid=Explicit((r0, r1, r2)), noise_removal=False)
    *_, last = sampler.iterate(torch.full((1, 1), start, dtype=torch.float64), Noise(0, range(1)))
    assert last.x.item() == pytest.approx(wanted, rel=1e-12)


def test_data_are_kept_by_corrections_alone() -> None:
    with pytest.raises(ValueError, match="set corrected, or leave keeps_data"):
        ExponentialAdams(3, keeps_data=True)
