"""The exact score of correlated Gaussian data."""

from __future__ import annotations

import pytest
import torch

from models.exact.correlated_gaussian import CorrelatedGaussianScore
from sde_lib import VPSDE, Noise
from tests.oracles import CASES

COVARIANCE = [[1.0, 0.6, 0.0], [0.6, 0.5, -0.1], [0.0, -0.1, 0.2]]
MEAN = [0.3, -1.0, 2.0]


@pytest.mark.parametrize("name", ["vp", "ve", "ddpm"])
def test_score_is_the_gradient_of_the_diffused_density(name: str) -> None:
    """N(alpha mean, alpha^2 C + sigma^2 I), by torch's own multivariate normal."""
    case = CASES[name]
    network = CorrelatedGaussianScore(process=case.process, covariance=COVARIANCE, mean=MEAN)
    for at in case.times(5)[1:]:
        a, s = case.oracle.alpha(at), case.oracle.sigma(at)
        C = a**2 * torch.tensor(COVARIANCE, dtype=torch.float64) + s**2 * torch.eye(3).double()
        density = torch.distributions.MultivariateNormal(a * torch.tensor(MEAN, dtype=torch.float64), C)
        x = Noise(0, range(4), dtype=torch.float64).normal((4, 1, 3)).requires_grad_()
        (expected,) = torch.autograd.grad(density.log_prob(x.flatten(1)).sum(), x)
        assert torch.allclose(network(x, case.process.time([at] * 4)), expected, rtol=1e-9, atol=1e-9)


def test_draws_and_density_are_those_of_the_covariance() -> None:
    network = CorrelatedGaussianScore(process=VPSDE(), covariance=COVARIANCE, mean=MEAN)
    count = 2**15
    x = network.draw((count, 3), Noise(1, range(count), dtype=torch.float64))
    density = torch.distributions.MultivariateNormal(
        torch.tensor(MEAN, dtype=torch.float64), torch.tensor(COVARIANCE, dtype=torch.float64)
    )
    assert torch.allclose(network.log_density(x[:9]), density.log_prob(x[:9]))
    # Standard errors 1 / sqrt(count) = 0.006 and sqrt(2) times that; four of them.
    assert torch.allclose(x.mean(0), torch.tensor(MEAN, dtype=torch.float64), rtol=0, atol=0.025)
    assert torch.allclose(torch.cov(x.T), torch.tensor(COVARIANCE, dtype=torch.float64), rtol=0, atol=0.035)


def test_draws_do_not_hang_on_the_choice_of_eigenvectors() -> None:
    """They are mean + C^(1/2) z, the symmetric root, here of a covariance with a repeated eigenvalue."""
    rotation = torch.linalg.qr(torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 1.0]]).double()).Q
    root = rotation @ torch.diag(torch.tensor([0.5, 2.0, 2.0]).double()) @ rotation.T
    network = CorrelatedGaussianScore(process=VPSDE(), covariance=root @ root, mean=MEAN)
    z = Noise(1, range(5), dtype=torch.float64).normal((5, 3))
    expected = torch.tensor(MEAN, dtype=torch.float64) + z @ root
    assert torch.allclose(network.draw((5, 3), Noise(1, range(5), dtype=torch.float64)), expected)


def test_what_is_no_covariance_is_refused() -> None:
    for covariance, mean, message in [
        ([[1.0, 0.5]], 0.0, r"symmetric matrix \(D, D\), got shape \(1, 2\)"),
        ([[1.0, 0.5], [0.2, 1.0]], 0.0, "symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], 0.0, "smallest eigenvalue of this one is -1"),
        ([[1.0, 0.5], [0.5, 1.0]], [1.0, 2.0, 3.0], "the covariance is of 2 elements"),
    ]:
        with pytest.raises(ValueError, match=message):
            CorrelatedGaussianScore(process=VPSDE(), covariance=covariance, mean=mean)
    with pytest.raises(ValueError, match="has 3 elements but a sample of shape"):
        CorrelatedGaussianScore(process=VPSDE(), covariance=COVARIANCE).check_shape((2, 2))
