"""Exact scores against the derivative of the density that they belong to."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from sde_lib import DiscreteDiffusion, Noise
from tests.oracles import CASES, Case

MEANS = [[0.5, -1.0, 0.0], [-0.7, 0.2, 1.5]]
STDS = [0.1, 0.4]
WEIGHTS = [1.0, 3.0]


def time(case: Case, u: float) -> Tensor:
    chain = isinstance(case.process, DiscreteDiffusion)
    return torch.tensor([round(u * case.oracle.start) if chain else u] * 4)


def states(case: Case, t: Tensor) -> Tensor:
    """Draws of unit scale around the origin at that noise level."""
    noise = Noise(0, range(4), dtype=torch.float64)
    return (0.5 + case.oracle.sigma(t[0].item())) * noise.normal((4, 3))


def gradient(log_density: object, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(log_density(x).sum(), x)[0]  # type: ignore[operator]


@pytest.mark.parametrize("u", [0.01, 0.5, 1.0])
def test_gaussian_is_the_derivative_of_its_density(case: Case, u: float) -> None:
    """log N(x; alpha mu, alpha^2 c^2 + sigma^2) by torch.distributions; mu and c differ between elements."""
    t = time(case, u)
    a, s = case.oracle.alpha(t[0].item()), case.oracle.sigma(t[0].item())
    mu, c = torch.tensor([0.5, -1.0, 0.0]).double(), torch.tensor([0.01, 0.5, 2.0]).double()
    law = torch.distributions.Normal(a * mu, ((a * c) ** 2 + s**2).sqrt())
    x = states(case, t)
    score = GaussianScore(process=case.process, mean=mu.tolist(), std=c.tolist())(x, t.double())
    assert torch.allclose(score, gradient(law.log_prob, x), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("u", [0.01, 0.5, 1.0])
def test_mixture_is_the_derivative_of_its_density(case: Case, u: float) -> None:
    """log sum_k w_k N(x; alpha mu_k, alpha^2 c_k^2 + sigma^2), by torch.distributions."""
    t = time(case, u)
    a, s = case.oracle.alpha(t[0].item()), case.oracle.sigma(t[0].item())
    centres, widths = torch.tensor(MEANS).double(), torch.tensor(STDS).double()
    modes = torch.distributions.Normal(a * centres, ((a * widths) ** 2 + s**2).sqrt()[:, None])
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor(WEIGHTS).double()),
        torch.distributions.Independent(modes, 1),
    )
    x = states(case, t)
    network = GaussianMixtureScore(process=case.process, means=centres, stds=widths.tolist(), weights=WEIGHTS)
    assert torch.allclose(network(x, t.double()), gradient(law.log_prob, x), rtol=1e-7, atol=1e-9)


def test_mixture_of_one_mode_is_the_gaussian_whatever_the_samples_shape() -> None:
    case = CASES["vp"]
    x, t = Noise(0, range(2), dtype=torch.float64).normal((2, 1, 2, 3)), torch.tensor([0.3, 0.7]).double()
    one = GaussianMixtureScore(process=case.process, means=[[0.2] * 6], stds=0.3)(x, t)
    assert torch.allclose(one, GaussianScore(process=case.process, mean=0.2, std=0.3)(x, t), rtol=1e-10)


def test_far_from_every_mode_the_nearest_pulls() -> None:
    """No underflow: at 100 deviations the score is that of the nearer mode alone."""
    case = CASES["ve"]
    network = GaussianMixtureScore(process=case.process, means=[[1.0], [-1.0]], stds=0.01)
    score = network(torch.tensor([[5.0]]), torch.tensor([1e-5], dtype=torch.float64))
    sigma2 = 0.01**2 + case.oracle.sigma(1e-5) ** 2
    assert score.item() == pytest.approx(-(5 - 1) / sigma2, rel=1e-5)


def test_draws_have_the_datas_moments() -> None:
    """Mixture of n draws: mean sum w mu, variance sum w (c^2 + mu^2) - mean^2; five standard errors."""
    n, w = 65536, [0.25, 0.75]
    network = GaussianMixtureScore(process=CASES["vp"].process, means=MEANS, stds=STDS, weights=WEIGHTS)
    x = network.draw((n, 3), Noise(0, range(n)))
    for j in range(3):
        mean = sum(a * m[j] for a, m in zip(w, MEANS, strict=True))
        second = sum(a * (c**2 + m[j] ** 2) for a, c, m in zip(w, STDS, MEANS, strict=True))
        std = math.sqrt(second - mean**2)
        assert x[:, j].mean().item() == pytest.approx(mean, abs=5 * std / math.sqrt(n))
        assert x[:, j].std().item() == pytest.approx(std, rel=5 / math.sqrt(n))
    draws = GaussianScore(process=CASES["vp"].process, mean=0.3, std=0.5).draw(
        (64, 1024), Noise(0, range(64))
    )
    assert draws.mean().item() == pytest.approx(0.3, abs=5 * 0.5 / 256)
    assert draws.std().item() == pytest.approx(0.5, rel=5 / math.sqrt(2 * 65536))


def test_log_density_is_the_datas() -> None:
    """Written out for one point, in nats."""
    x = [0.4, -0.9, 0.1]
    logs = [
        math.log(w)
        + sum(
            -0.5 * ((v - m) / c) ** 2 - math.log(c * math.sqrt(2 * math.pi))
            for v, m in zip(x, mu, strict=True)
        )
        for w, c, mu in zip([0.25, 0.75], STDS, MEANS, strict=True)
    ]
    expected = math.log(sum(math.exp(v) for v in logs))
    network = GaussianMixtureScore(process=CASES["vp"].process, means=MEANS, stds=STDS, weights=WEIGHTS)
    assert network.log_density(torch.tensor([x]).double()).item() == pytest.approx(expected, rel=1e-6)
    gaussian = GaussianScore(process=CASES["vp"].process, mean=0.3, std=0.5)
    expected = sum(-0.5 * ((v - 0.3) / 0.5) ** 2 - math.log(0.5 * math.sqrt(2 * math.pi)) for v in x)
    assert gaussian.log_density(torch.tensor([x]).double()).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: GaussianScore(process=p, std=0.0), "must be positive, got 0.0"),
        (lambda p: GaussianMixtureScore(process=p, means=[0.0, 1.0]), r"means must be \(K, D\)"),
        (lambda p: GaussianMixtureScore(process=p, means=MEANS, weights=[1.0]), "2 positive weights"),
        (
            lambda p: GaussianMixtureScore(process=p, means=MEANS).check_shape((1, 2, 2)),
            "has 4; give means of 4",
        ),
        (lambda p: GaussianScore(process=p, mean=[0.0, 1.0]).check_shape((3,)), "does not broadcast"),
    ],
)
def test_wrong_data_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(CASES["vp"].process)  # type: ignore[operator]
