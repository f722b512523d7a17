"""Toy densities against quadrature, Bessel's function and torch's distributions; draws against their densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch
from torch import Tensor

from run_lib.data.sources import register_dataset
from run_lib.data.toys import checkerboard, gaussian_modes, rings, swiss_roll, two_moons
from sde_lib.densities import Checkerboard, Density

POINTS = torch.tensor(
    [[0.0, 0.5], [1.0, 0.1], [0.5, -0.45], [-1.1, 0.3], [2.0, 2.0], [0.51, 0.74]], dtype=torch.float64
)


def density(make: Any, **settings: Any) -> Density:
    found: Density = make("train", num_draws=1, **settings).density
    return found


def by_quadrature(curve: Any, x: Tensor, std: float) -> float:
    """The integral over u in [0, 1] of N(x; curve(u), std^2 I), by scipy's adaptive rule."""

    def integrand(u: float) -> float:
        square = sum((a - b) ** 2 for a, b in zip(x.tolist(), curve(u), strict=True))
        return math.exp(-square / (2 * std**2)) / (2 * math.pi * std**2)

    found: float = scipy.integrate.quad(integrand, 0, 1, epsabs=1e-14, epsrel=1e-12, limit=500)[0]
    return found


def upper(u: float) -> tuple[float, float]:
    return math.cos(math.pi * u), math.sin(math.pi * u)


def lower(u: float) -> tuple[float, float]:
    return 1 - math.cos(math.pi * u), 0.5 - math.sin(math.pi * u)


def roll(u: float) -> tuple[float, float]:
    angle = 1.5 * math.pi * (1 + 2 * u)
    return 0.1 * angle * math.cos(angle), 0.1 * angle * math.sin(angle)


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.5])
def test_moons(noise: float) -> None:
    found = density(two_moons, noise=noise)
    modes = [[by_quadrature(curve, x, noise) for x in POINTS[:4]] for curve in (upper, lower)]
    for y, each in enumerate(modes):
        assert found.log_density(POINTS[:4], torch.full((4,), y)).exp().tolist() == pytest.approx(
            each, rel=1e-9, abs=1e-13
        )
    both = np.mean(modes, axis=0)
    assert found.log_density(POINTS[:4]).exp().tolist() == pytest.approx(both, rel=1e-9, abs=1e-13)


def test_the_swiss_roll() -> None:
    expected = [by_quadrature(roll, x, 0.1) for x in POINTS]
    assert density(swiss_roll, noise=0.1).log_density(POINTS).exp().tolist() == pytest.approx(
        expected, rel=1e-9, abs=1e-13
    )


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_rings_are_bessels(noise: float) -> None:
    """The mean of N(x; R e, s^2 I) over directions e is exp(-(r - R)^2 / 2 s^2) i0e(r R / s^2) / (2 pi s^2)."""
    r = POINTS.norm(dim=1).numpy()
    each = [
        np.exp(-((r - R) ** 2) / (2 * noise**2))
        * scipy.special.i0e(r * R / noise**2)
        / (2 * math.pi * noise**2)
        for R in (0.5, 1.0)
    ]
    found = density(rings, noise=noise, num_rings=2)
    assert found.log_density(POINTS).exp().numpy() == pytest.approx(
        np.mean(each, axis=0), rel=1e-9, abs=1e-13
    )
    outer = found.log_density(POINTS, torch.ones(6, dtype=torch.int64))
    assert outer.exp().numpy() == pytest.approx(each[1], rel=1e-9, abs=1e-13)


def test_modes_in_many_dimensions() -> None:
    """Of torch.distributions, about the centres that the draws of each class have as their mean."""
    made = gaussian_modes("train", (2, 3), num_modes=3, noise=0.3, num_draws=3000)
    assert made.images.shape == (3000, 2, 3)
    centres = made.density.means  # type: ignore[union-attr]
    for k in range(3):
        mine = made.images[made.labels == k].flatten(1).double()
        assert (mine.mean(0) - centres[k]).abs().max() < 5 * 0.3 / len(mine) ** 0.5
        assert mine.std(0) == pytest.approx(torch.full((6,), 0.3).numpy(), rel=0.2)
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(3).double()),
        torch.distributions.Independent(torch.distributions.Normal(centres, 0.3), 1),
    )
    x = made.images[:7].double()
    found = made.density.log_density(x)  # type: ignore[union-attr]
    torch.testing.assert_close(found, law.log_prob(x.flatten(1)), rtol=1e-12, atol=1e-12)


def test_a_checkerboard_is_uniform_on_its_dark_squares() -> None:
    """Eight of sixteen, of side 1/2: log p = -log 2. Of 8000 draws each holds 1000, within five deviations of 31."""
    made = checkerboard("train", num_draws=8000)
    assert made.density is not None
    assert made.density.log_density(made.images).tolist() == pytest.approx([-math.log(2)] * 8000)
    place = ((made.images + 1) * 2).floor().long()
    counts = torch.bincount(place[:, 0] * 4 + place[:, 1], minlength=16)
    assert counts[counts > 0].tolist() == pytest.approx([1000] * 8, abs=5 * 31)
    light = torch.tensor([[-0.75, -0.25], [0.1, 0.6], [1.2, 0.1], [0.1, -1.01]])
    assert made.density.log_density(light).tolist() == [-math.inf] * 4
    assert made.density.log_density(torch.tensor([[-0.75, -0.75]])).item() == pytest.approx(-math.log(2))


@pytest.mark.parametrize("squares", [1, 3, 0])
def test_a_board_of_an_odd_number_is_refused(squares: int) -> None:
    with pytest.raises(ValueError, match="an even number of squares"):
        Checkerboard(squares)


@pytest.mark.slow
@pytest.mark.parametrize("make", [two_moons, swiss_roll, rings])
def test_draws_have_the_density(make: Any) -> None:
    """It integrates to one, and the mean of log p over draws is minus the entropy, within five standard errors."""
    made = make("test", noise=0.15, num_draws=4000)
    line = torch.linspace(-2.5, 3.5, 401, dtype=torch.float64)
    log_p = made.density.log_density(torch.cartesian_prod(line, line))
    area = float(line[1] - line[0]) ** 2
    assert float(log_p.exp().sum() * area) == pytest.approx(1, rel=1e-9)
    entropy = -float((log_p.exp() * log_p).sum() * area)
    found = -made.density.log_density(made.images)
    assert found.mean().item() == pytest.approx(entropy, abs=5 * found.std().item() / 4000**0.5)
    # Some points belong to each class, whose own density is the higher there on average.
    classes = int(made.labels.max()) + 1
    own = made.density.log_density(made.images, made.labels).mean()
    assert own >= made.density.log_density(made.images, (made.labels + 1) % classes).mean()


@pytest.mark.parametrize("name", ["two_moons", "swiss_roll", "rings", "checkerboard"])
def test_splits_differ_and_stay(name: str) -> None:
    train, again, test = (register_dataset[name](split, num_draws=50) for split in ("train", "train", "test"))
    assert torch.equal(train.images, again.images)
    assert not torch.equal(train.images, test.images)
    assert train.images.shape == (50, 2)
