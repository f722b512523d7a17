"""The flow's log-likelihood against closed forms, and what keeps it trustworthy.

Data of mean zero: the flow ends in the prior N(0, prior_std^2 I), not in p_T, and for them the two differ by
less than 1e-4 bits/dim (alpha_T^2 = 4e-5 for VP and subVP, 1/50^2 of a variance for VE).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from likelihood import ExactTrace, Hutchinson, bits_per_dim, log_likelihood
from likelihood.flow import Coordinates
from models.base import Network
from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import SDE, VESDE, VPSDE, Coefficients, Flow, GaussianSDE, Marginal, Noise, expand, subVPSDE
from sde_lib.integrate import Outcome

SDES = [VPSDE(), subVPSDE(), VESDE(), Flow(), Flow(path="cosine")]
SHAPES = [(6,), (1, 2, 3), (2, 1, 3, 1)]
VECTORS, IMAGES = SHAPES[0], SHAPES[1:]
TIGHT = {"divergence": ExactTrace(), "rtol": 1e-6, "atol": 1e-6}


def names(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, SDE) else None


def level(sde: GaussianSDE, t: float) -> tuple[float, float]:
    """alpha and sigma^2 at t, by the papers' formulas."""
    if isinstance(sde, VESDE):
        return 1.0, (0.01 * 5000**t) ** 2
    if isinstance(sde, Flow):
        straight, angle = sde.path == "straight", math.pi / 2 * t
        return (1 - t, t**2) if straight else (math.cos(angle), math.sin(angle) ** 2)
    alpha2 = math.exp(-0.1 * t - 0.5 * 19.9 * t * t)
    variance = -math.expm1(-0.1 * t - 0.5 * 19.9 * t * t)
    return math.sqrt(alpha2), variance if isinstance(sde, VPSDE) else variance**2


def normal_logp(x: Tensor, mean: Tensor | float, variance: float) -> Tensor:
    square = ((x - mean) ** 2).flatten(1).sum(1)
    return -0.5 * square / variance - 0.5 * x[0].numel() * math.log(2 * math.pi * variance)


def gaussian(sde: GaussianSDE, std: float = 0.5) -> NoiseModel:
    return NoiseModel(GaussianScore(process=sde, mean=0.0, std=std), sde, Time(sde), "score")


def draws(count: int, shape: Sequence[int], seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def per_dim(nats: Tensor, x: Tensor) -> Tensor:
    return nats / (x[0].numel() * math.log(2))


@pytest.mark.parametrize(
    ("coordinates", "shape", "std"),
    [
        *((coordinates, VECTORS, std) for coordinates in ("time", "angle") for std in (0.01, 0.5)),
        *(("angle", shape, 0.5) for shape in IMAGES),
    ],
    ids=str,
)
@pytest.mark.parametrize("sde", SDES, ids=names)
def test_gaussian_data(sde: GaussianSDE, std: float, shape: tuple, coordinates: Coordinates) -> None:
    alpha, variance = level(sde, 1e-5)
    x = std * draws(4, shape)
    result = log_likelihood(gaussian(sde, std), x, Noise(0, range(4)), coordinates=coordinates, **TIGHT)
    expected = normal_logp(x, 0.0, (alpha * std) ** 2 + variance)
    assert per_dim(result.logp - expected, x).abs().max() <= 1e-4
    assert result.stderr.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("method", "shape"),
    [
        *((method, VECTORS) for method in ("bosh3", "dopri5", "dop853")),
        *(("dopri5", shape) for shape in IMAGES),
    ],
    ids=str,
)
@pytest.mark.parametrize("sde", SDES, ids=names)
def test_mixture_data(sde: GaussianSDE, shape: tuple, method: str) -> None:
    means = torch.tensor([[0.6, -0.4, 0.0, 0.3, 0.5, -0.1]], dtype=torch.float64) * torch.tensor(
        [[1.0], [-1.0]]
    )
    weights, stds = (0.5, 0.5), (0.3, 0.3)
    network = GaussianMixtureScore(process=sde, means=means, stds=stds, weights=weights)
    x = (means[[0, 1, 0, 1]] + 0.3 * draws(4, (6,))).reshape(4, *shape)
    result = log_likelihood(
        NoiseModel(network, sde, Time(sde), "score"), x, Noise(0, range(4)), method=method, **TIGHT
    )
    alpha, variance = level(sde, 1e-5)
    modes = [
        math.log(w) + normal_logp(x.flatten(1), alpha * m, (alpha * s) ** 2 + variance)
        for w, m, s in zip(weights, means, stds, strict=True)
    ]
    expected = torch.logsumexp(torch.stack(modes), 0)
    assert per_dim(result.logp - expected, x).abs().max() <= 1e-4


@pytest.mark.parametrize("precision", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("coordinates", ["time", "angle"])
@pytest.mark.parametrize("sde", [Flow(), Flow(path="cosine")], ids=["straight", "cosine"])
def test_a_flows_nats(sde: Flow, coordinates: Coordinates, precision: torch.dtype) -> None:
    """To 1e-4 nats, not a dimension but in all. What is left at a tolerance of 1e-6 is the end, where sigma / alpha is
    1e5 and the prior has no mean: 1e-5 times that of the data times the state; it is there in float64, and no less."""
    means = torch.tensor([[0.6, -0.4, 0.0, 0.3, 0.5, -0.1]], dtype=torch.float64) * torch.tensor(
        [[1.0], [0.5]]
    )
    network = GaussianMixtureScore(process=sde, means=means, stds=(0.3, 0.3), weights=(0.5, 0.5))
    x = (means[[0, 1, 0, 1]] + 0.3 * draws(4, (6,))).to(precision)
    model = NoiseModel(network, sde, Time(sde), "score")
    result = log_likelihood(model, x, Noise(0, range(4)), coordinates=coordinates, method="dopri5", **TIGHT)
    alpha, variance = level(sde, 1e-5)
    modes = [normal_logp(x.double(), alpha * mean, (alpha * 0.3) ** 2 + variance) for mean in means]
    expected = torch.logsumexp(torch.stack(modes), 0) - math.log(2)
    error = (result.logp - expected).abs().max()
    assert error <= 1e-4
    assert precision is torch.float32 or error >= 1e-6


@pytest.mark.parametrize("sde", SDES, ids=names)
def test_latent_is_the_flows(sde: GaussianSDE) -> None:
    # A Gaussian's flow scales: z / x = std of p_T / std of p_{t_min}.
    (a0, v0), (a1, v1) = level(sde, 1e-5), level(sde, 1.0)
    x = 0.5 * draws(3, (2, 4))
    result = log_likelihood(gaussian(sde), x, Noise(0, range(3)), **TIGHT)
    ratio = math.sqrt(((a1 * 0.5) ** 2 + v1) / ((a0 * 0.5) ** 2 + v0))
    torch.testing.assert_close(result.z, ratio * x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sde", SDES, ids=names)
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_default_tolerance_and_probes_give_a_gaussians_bits(sde: GaussianSDE, probe: Any) -> None:
    # The score's Jacobian is diagonal: Rademacher probes are exact. Gaussian ones err by their standard
    # error, as the data's standard deviation is not the control variate's, and by the solver's.
    alpha, variance = level(sde, 1e-5)
    x = 0.3 * draws(64, (3, 8, 8))
    d = Hutchinson(probe, num_probes=4)
    result = log_likelihood(gaussian(sde, 0.3), x, Noise(0, range(64), dtype=torch.float64), divergence=d)
    expected = bits_per_dim(
        normal_logp(x, 0.0, (alpha * 0.3) ** 2 + variance), 192, levels=256, data_range=2.0
    )
    error = (bits_per_dim(result.logp, 192, levels=256, data_range=2.0) - expected).mean()
    stderr = float(per_dim(result.stderr, x).square().sum().sqrt()) / 64
    assert abs(error) <= (1e-3 if probe == "rademacher" else 4 * stderr + 1e-4)


class Coupled(GaussianSDE):
    """VP with beta = 4: a GaussianSDE that gives its marginal and nothing else."""

    def marginal(self, t: Tensor) -> Marginal:
        log_alpha = -2 * t.double()
        return Marginal(log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt())


class CorrelatedScore(Network):
    """-(alpha^2 C + sigma^2 I)^-1 x for data N(0, C): a Jacobian with off-diagonal elements."""

    def __init__(self, sde: GaussianSDE, covariance: Tensor) -> None:
        super().__init__()
        self.sde, (self.values, self.vectors) = sde, torch.linalg.eigh(covariance)

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        m = self.sde.marginal(labels)
        variances = m.alpha[:, None] ** 2 * self.values + m.sigma[:, None] ** 2
        return -((x.double() @ self.vectors) / variances @ self.vectors.T).to(x.dtype)


def correlated() -> tuple[NoiseModel, Tensor, Tensor]:
    """A model, data, and their log-density by the multivariate normal's formula at t_min."""
    covariance = 0.25 * (0.6 * torch.ones(5, 5) + 0.4 * torch.eye(5)).double()
    sde = Coupled()
    x = draws(1, (5,), seed=4) @ torch.linalg.cholesky(covariance).T
    m = sde.marginal(torch.tensor(1e-5))
    at_t = torch.distributions.MultivariateNormal(
        torch.zeros(5).double(), m.alpha**2 * covariance + m.sigma**2 * torch.eye(5)
    )
    # The prior is N(0, I), p_T is not: alpha_T^2 = e^-4. The flow is linear, so the density is known.
    values, vectors = torch.linalg.eigh(covariance)
    end = sde.marginal(torch.tensor(1.0))
    ratio = (end.alpha**2 * values + end.sigma**2) / (m.alpha**2 * values + m.sigma**2)
    z = (x @ vectors) * ratio.sqrt()
    terminal = (
        -0.5 * (z**2 / (end.alpha**2 * values + end.sigma**2)).sum(1)
        - 0.5 * (2 * math.pi * (end.alpha**2 * values + end.sigma**2)).log().sum()
    )
    return (
        NoiseModel(CorrelatedScore(sde, covariance), sde, Time(sde), "score"),
        x,
        (at_t.log_prob(x) - terminal + normal_logp(z, 0.0, 1.0)),
    )


@pytest.mark.parametrize("coordinates", ["time", "angle"])
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_probes_are_unbiased_and_their_standard_error_is_right(probe: Any, coordinates: Coordinates) -> None:
    model, x, expected = correlated()
    count = 500
    noise = Noise(7, range(count), dtype=torch.float64)
    result = log_likelihood(
        model,
        x.expand(count, 5),
        noise,
        divergence=Hutchinson(probe, 4),
        rtol=1e-5,
        atol=1e-5,
        coordinates=coordinates,
    )
    spread = float(result.logp.std())
    assert float(result.logp.mean()) == pytest.approx(float(expected), abs=4 * spread / math.sqrt(count))
    # The reported standard error, squared and averaged, is the variance that streams really have.
    assert math.sqrt(float(result.stderr.square().mean())) == pytest.approx(spread, rel=0.1)


def test_the_known_linear_part_takes_variance_away() -> None:
    # Gaussian data of standard deviation 1/2, correlated: in the angle the diagonal of the score's Jacobian,
    # -1 / (alpha^2 / 4 + sigma^2), is known up to the correlation; in time Gaussian probes pay for all of it.
    model, x, expected = correlated()

    def run(coordinates: Coordinates) -> Tensor:
        noise = Noise(8, range(500), dtype=torch.float64)
        d = Hutchinson("gaussian")
        return log_likelihood(model, x.expand(500, 5), noise, divergence=d, coordinates=coordinates).logp

    in_time, in_angle = run("time"), run("angle")
    assert float(in_angle.std()) < 0.8 * float(in_time.std())
    for logp in (in_time, in_angle):
        assert float(logp.mean()) == pytest.approx(
            float(expected), abs=4 * float(logp.std()) / math.sqrt(500)
        )


class OrnsteinUhlenbeck(SDE):
    """A user's SDE with the abstract methods and nothing else: dx = -3 (x - 1/2) dt + sqrt(2) dw."""

    def sde(self, x: Tensor, t: Tensor) -> Coefficients:
        return Coefficients(-3 * (x - 0.5), torch.full_like(t, math.sqrt(2)))

    def prior_sampling(self, shape: Sequence[int], noise: Noise) -> Tensor:
        return 0.5 + noise.normal(shape) / math.sqrt(3)

    def prior_logp(self, z: Tensor) -> Tensor:
        return normal_logp(z.double(), 0.5, 1 / 3)


class OrnsteinUhlenbeckScore(Network):
    """For data N(1/2, 1/100): variance e^-6t / 100 + (1 - e^-6t) / 3."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        decay = torch.exp(-6 * labels)
        return -(x - 0.5) / expand(decay / 100 + (1 - decay) / 3, x)


def test_a_users_sde_gets_its_likelihood() -> None:
    sde = OrnsteinUhlenbeck()
    model = NoiseModel(OrnsteinUhlenbeckScore(), sde, Time(sde), "score")
    x = 0.5 + 0.1 * draws(5, (2, 3))
    result = log_likelihood(model, x, Noise(0, range(5)), **TIGHT)
    # z = 1/2 + (x - 1/2) sqrt(v_T / v_0) exactly, with the prior's density there and the map's volume.
    v0 = math.exp(-6e-5) / 100 + (1 - math.exp(-6e-5)) / 3
    v1 = math.exp(-6) / 100 + (1 - math.exp(-6)) / 3
    z = 0.5 + (x - 0.5) * math.sqrt(v1 / v0)
    expected = normal_logp(z, 0.5, 1 / 3) + 3 * math.log(v1 / v0)
    assert per_dim(result.logp - expected, x).abs().max() <= 1e-4
    with pytest.raises(ValueError, match="coordinates='time'"):
        log_likelihood(model, x, Noise(0, range(5)), coordinates="angle")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_image_alone_and_in_a_batch_gives_the_same_number(dtype: torch.dtype) -> None:
    sde = VPSDE()
    means = torch.tensor([[0.5] * 12, [-0.5] * 12])
    model = NoiseModel(GaussianMixtureScore(process=sde, means=means, stds=0.2), sde, Time(sde), "score")
    # Batch-mates of other scales, which would change a step that the batch shared.
    x = (draws(5, (3, 2, 2)) * torch.tensor([0.01, 0.1, 1.0, 10.0, 0.3]).double().view(5, 1, 1, 1)).to(dtype)
    together = log_likelihood(model, x, Noise(3, range(10, 15), dtype=dtype))
    for i in range(5):
        alone = log_likelihood(model, x[[i]], Noise(3, [10 + i], dtype=dtype))
        torch.testing.assert_close(alone.logp[0], together.logp[i], rtol=1e-6, atol=1e-4)
        torch.testing.assert_close(alone.z[0], together.z[i], rtol=1e-5, atol=1e-5)


def test_failures_are_told_by_index_and_the_others_stand() -> None:
    class Touchy(Network):
        """The unit Gaussian's score; infinite for states beyond 50."""

        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            return torch.where(x.abs() > 50, torch.full_like(x, math.inf), -x)

    sde = VPSDE()
    model = NoiseModel(Touchy(), sde, Time(sde), "score")
    x = draws(4, (3,))
    expected = normal_logp(x, 0.0, 1.0)
    x[1, 0], x[2, 0] = math.nan, 100.0
    result = log_likelihood(model, x, Noise(0, range(4)), **TIGHT)
    assert [(f.index, f.outcome) for f in result.failures] == [
        (1, Outcome.NOT_FINITE),
        (2, Outcome.NOT_FINITE),
    ]
    assert result.logp.isnan().tolist() == [False, True, True, False]
    torch.testing.assert_close(result.logp[[0, 3]], expected[[0, 3]], rtol=1e-5, atol=1e-5)


def test_too_few_steps_are_told() -> None:
    result = log_likelihood(gaussian(VPSDE()), draws(2, (3,)), Noise(0, range(2)), max_steps=2)
    assert {f.outcome for f in result.failures} == {Outcome.TOO_MANY_STEPS}


def test_each_sample_is_evaluated_under_its_own_conditioning() -> None:
    class Shifted(Network):
        """The score of N(shift, 1) under VP: unit variance for ever, mean alpha shift."""

        def forward(self, x: Tensor, labels: Tensor, *, shift: Tensor, **cond: Any) -> Tensor:
            return expand(VPSDE().marginal(labels).alpha * shift, x) - x

    sde = VPSDE()
    model = NoiseModel(Shifted(), sde, Time(sde), "score")
    x, shift = draws(3, (4,)), torch.tensor([0.0, 3.0, -30.0], dtype=torch.float64)
    result = log_likelihood(model, x, Noise(0, range(3)), shift=shift, **TIGHT)
    # The flow translates: z = x - (alpha_0 - alpha_T) shift, and volumes stay.
    (a0, _), (a1, _) = level(sde, 1e-5), level(sde, 1.0)
    expected = normal_logp(x - (a0 - a1) * shift[:, None], 0.0, 1.0)
    torch.testing.assert_close(result.logp, expected, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match="'shift' has 2 rows for 3 samples"):
        log_likelihood(model, x, Noise(0, range(3)), shift=shift[:2])


def test_noised_truncation_bounds_the_density_of_clean_data() -> None:
    # E[log p_t(alpha x + sigma e)] + D log alpha for N(0, s^2): closed form,
    # below log p_0(x) on average over data.
    sde, s = VESDE(), 0.05
    alpha, variance = level(sde, 1e-5)
    x = s * draws(4000, (2,))
    result = log_likelihood(
        gaussian(sde, s),
        x,
        Noise(0, range(4000), dtype=torch.float64),
        divergence=ExactTrace(),
        truncation="noised",
    )
    v = (alpha * s) ** 2 + variance
    bound = normal_logp(alpha * x, 0.0, v) - variance / v + 2 * math.log(alpha)
    gap = result.logp - bound
    assert float(gap.mean()) == pytest.approx(0.0, abs=4 * float(gap.std()) / math.sqrt(4000) + 1e-3)
    assert float(bound.mean()) < float(normal_logp(x, 0.0, s**2).mean())


def test_t_min_moves_where_the_density_is_read() -> None:
    alpha, variance = level(VPSDE(), 0.1)
    x = 0.5 * draws(3, (4,))
    result = log_likelihood(gaussian(VPSDE()), x, Noise(0, range(3)), t_min=0.1, **TIGHT)
    expected = normal_logp(x, 0.0, (alpha * 0.5) ** 2 + variance)
    assert per_dim(result.logp - expected, x).abs().max() <= 1e-4


def test_the_model_is_left_as_it_was() -> None:
    network = torch.nn.Linear(1, 1)

    class Learnt(Network):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.drop = network, torch.nn.Dropout(0.5)

        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            assert not self.drop.training  # dropout would make the density random
            assert not self.layer.weight.requires_grad
            return -x + 0 * self.layer.weight.sum()

    model = NoiseModel(Learnt(), VPSDE(), Time(VPSDE()), "score")
    log_likelihood(model, torch.zeros(1, 2), Noise(0, range(1)))
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_constant_output_has_the_linear_parts_divergence() -> None:
    class Zero(Network):
        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            return torch.zeros_like(x)

    # Score 0: dx = -beta/2 x dt scales by alpha(T)/alpha(t_min).
    sde = VPSDE()
    (a0, _), (a1, _) = level(sde, 1e-5), level(sde, 1.0)
    x = draws(2, (3,))
    result = log_likelihood(NoiseModel(Zero(), sde, Time(sde), "score"), x, Noise(0, range(2)), **TIGHT)
    expected = normal_logp(x * a1 / a0, 0.0, 1.0) + 3 * math.log(a1 / a0)
    torch.testing.assert_close(result.logp, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"t_min": 0.0},
        {"t_min": 1.0},
        {"coordinates": "sigma"},
        {"truncation": "none"},
        {"method": "rk4"},
        {"rtol": 0.0},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        log_likelihood(gaussian(VPSDE()), torch.zeros(1, 2), Noise(0, range(1)), **wrong)
