"""Learned dequantisation against probabilities known exactly.

Points of the plane from two Gaussians, read on a 4 x 4 grid of bins half as wide again as two standard
deviations: P(bin) is a product of differences of error functions, and within a bin the density is far from
uniform, so that uniform dequantisation wastes bits which a learned one can win back, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from likelihood import (
    DenoisingBound,
    ExactTrace,
    UniformDequantisation,
    VariationalDequantisation,
    fit_dequantisation,
    importance_weighted,
    log_likelihood,
)
from likelihood.dequantise import Dequantisation
from models.exact.mixtures import GaussianMixtureScore, GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import VESDE, VPSDE, DiscreteDiffusion, GaussianSDE, Noise, subVPSDE
from sde_lib.finite import NotFiniteError
from sde_lib.schedules import linear_betas

LEVELS, CENTRE, STD = 4, 0.4, 0.17
SDE = VPSDE()
MEANS = torch.tensor([[CENTRE, CENTRE], [-CENTRE, -CENTRE]], dtype=torch.float64)
NETWORK = GaussianMixtureScore(process=SDE, means=MEANS, stds=STD)
MODEL = NoiseModel(NETWORK, SDE, Time(SDE), "score")
CELLS = torch.cartesian_prod(torch.arange(LEVELS), torch.arange(LEVELS))


def cell_probability() -> Tensor:
    """P of each of the 16 cells."""
    edges = torch.linspace(-1, 1, LEVELS + 1, dtype=torch.float64)
    below = torch.special.ndtr((edges - MEANS[:, :1]) / STD)  # the two coordinates of a mean are equal
    of_coordinate = below.diff(dim=1)
    return (0.5 * of_coordinate[:, CELLS[:, 0]] * of_coordinate[:, CELLS[:, 1]]).sum(0)


def cost(dequantise: Dequantisation, draws: int) -> Tensor:
    """-(log p(x) - log q) - D log(range / levels) of each cell, (draws, 16): at least -log P on average."""
    with torch.no_grad():
        drawn = dequantise(CELLS.repeat(draws, 1), Noise(9, range(draws * len(CELLS)), dtype=torch.float64))
    nats = -(NETWORK.log_density(drawn.x) - drawn.log_q) - 2 * math.log(2 / LEVELS)
    return nats.reshape(draws, len(CELLS))


@pytest.fixture(scope="module")
def learned() -> VariationalDequantisation:
    torch.manual_seed(0)
    dequantise = VariationalDequantisation((2,), levels=LEVELS)
    rows = torch.multinomial(
        cell_probability().float(), 4000, replacement=True, generator=torch.Generator().manual_seed(1)
    )
    fit_dequantisation(dequantise, MODEL, CELLS[rows], seed=3, steps=100, batch_size=256, learning_rate=1e-2)
    return dequantise


def test_learned_dequantisation_is_tighter_than_uniform_and_never_below_the_probability(
    learned: VariationalDequantisation,
) -> None:
    p = cell_probability()
    entropy = -float((p * p.log()).sum())
    assert float(p.sum()) == pytest.approx(1, abs=1e-3), "hardly anything falls outside the grid"
    uniform, ours = (cost(d, 4000) for d in (UniformDequantisation(LEVELS), learned))
    waste, left = (float((p * c.mean(0)).sum()) - entropy for c in (uniform, ours))
    stderr = float((p**2 * ours.var(0)).sum().sqrt()) / math.sqrt(4000)
    assert left > -4 * stderr, "no bound on the cost lies below it"
    assert left < 0.1 * waste, f"of {waste:.3f} nats that uniform places waste, {left:.3f} are left"


def test_untrained_it_is_uniform() -> None:
    level = CELLS.repeat(500, 1)
    with torch.no_grad():
        drawn = VariationalDequantisation((2,), levels=LEVELS)(level, Noise(0, range(len(level))))
    assert float(drawn.log_q.abs().max()) < 1e-9
    place = (drawn.x.double() + 1) * LEVELS / 2 - level
    # Mean 1/2 and variance 1/12 within four standard errors of 16000 draws.
    assert float(place.mean()) == pytest.approx(0.5, abs=4 / math.sqrt(12 * 16000))
    assert float(place.var()) == pytest.approx(1 / 12, abs=4 * math.sqrt(1 / 180 / 16000))


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 4), (1, 2, 3), (1, 2, 2, 3)], ids=str)
def test_log_q_is_the_density_of_what_is_drawn(shape: tuple[int, ...]) -> None:
    """E_q[1 / q] is the volume of the bin, 1, whatever the network: at random weights, on every rank of data.

    Weights of mild scale: 1 / q of a q that vanishes at an edge has no variance.
    """
    torch.manual_seed(1)
    dequantise = VariationalDequantisation(shape, levels=3, width=8, couplings=3)
    for p in dequantise.parameters():
        torch.nn.init.normal_(p, std=0.6 / math.sqrt(max(p[0].numel(), 8)))
    count = 20000
    level = torch.arange(math.prod(shape)).reshape(shape).expand(count, *shape) % 3
    with torch.no_grad():
        drawn = dequantise(level, Noise(2, range(count), dtype=torch.float64))
    inverse = (-drawn.log_q).exp()
    stderr = float(inverse.std()) / math.sqrt(count)
    assert float(drawn.log_q.std()) > 0.05, "the network does something"
    assert float(inverse.mean()) == pytest.approx(1.0, abs=4 * stderr)
    place = (drawn.x + 1) * 1.5 - level
    assert 0 <= float(place.min()) < float(place.max()) <= 1


def test_places_depend_on_the_sample_alone(learned: VariationalDequantisation) -> None:
    with torch.no_grad():
        together = learned(CELLS, Noise(4, range(16), dtype=torch.float64))
        alone = learned(CELLS[[5]], Noise(4, [5], dtype=torch.float64))
    torch.testing.assert_close(alone.x[0], together.x[5], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(alone.log_q[0], together.log_q[5], rtol=1e-6, atol=1e-6)


def test_importance_weights_close_the_gap_that_is_left() -> None:
    """Of 8 places log mean exp(logp - log_q) lies between the mean's bound and log P, with exact densities."""
    count, repeats = 400, 8
    rows = torch.multinomial(
        cell_probability().float(), count, replacement=True, generator=torch.Generator().manual_seed(2)
    )
    level = CELLS[rows].repeat(repeats, 1)
    noise = Noise(5, range(len(level)), dtype=torch.float64)
    drawn = UniformDequantisation(LEVELS)(level, noise)
    found = log_likelihood(MODEL, drawn.x, noise, divergence=ExactTrace(), rtol=1e-4, atol=1e-4)
    weights = (found.logp - drawn.log_q).reshape(repeats, count)
    offset, exact = 2 * math.log(2 / LEVELS), cell_probability().log()[rows]
    mean_gap, gap = (exact - w - offset for w in (weights.mean(0), importance_weighted(weights)))
    stderr = float(gap.std()) / math.sqrt(count)
    assert float(gap.mean()) + 4 * stderr > 0
    assert float(gap.mean()) < 0.3 * float(mean_gap.mean())


@pytest.mark.parametrize("sde", [VPSDE(), subVPSDE(), VESDE()], ids=lambda s: type(s).__name__)
def test_denoising_bound_of_a_gaussian(sde: GaussianSDE) -> None:
    """N(0, s^2): the bound's parts in closed form, from E|eps - eps_hat|^2 = alpha^2 s^2 / (alpha^2 s^2 + sigma^2).

    With lambda the log-SNR, 1/2 the integral is 1/2 log((1 + s^2 e^first) / (1 + s^2 e^last)) a dimension.
    """
    s, size, count = 0.3, 5, 4000
    x0 = s * Noise(0, range(count), dtype=torch.float64).normal((count, size))
    bound = DenoisingBound(NoiseModel(GaussianScore(process=sde, std=s), sde, Time(sde), "score"))
    quantile = (torch.arange(count) + 0.5) / count
    found = bound(x0, Noise(1, range(count), dtype=torch.float64), quantile)
    ends = sde.marginal(torch.tensor([sde.t_min, 1.0], dtype=torch.float64))
    snr = (ends.alpha / ends.sigma) ** 2
    integral = 0.5 * math.log((1 + s**2 * float(snr[0])) / (1 + s**2 * float(snr[1])))
    variance = float(ends.sigma[1] / sde.prior_std) ** 2
    prior = 0.5 * ((float(ends.alpha[1]) * s / sde.prior_std) ** 2 + variance - 1 - math.log(variance))
    reconstruction = 0.5 * (math.log(2 * math.pi * math.e) - math.log(float(snr[0])))
    expected = size * (integral + prior + reconstruction)
    stderr = float(found.std()) / math.sqrt(count)
    assert float(found.mean()) == pytest.approx(expected, abs=4 * stderr)
    # And it is the entropy, but for what the reconstruction and the prior lose.
    entropy = size * 0.5 * math.log(2 * math.pi * math.e * s**2)
    assert entropy < expected < entropy + size * 0.01


def test_what_has_no_log_snr_is_refused() -> None:
    chain = DiscreteDiffusion.ddpm(linear_betas(20))
    with pytest.raises(ValueError, match="needs a GaussianSDE"):
        DenoisingBound(NoiseModel(GaussianScore(process=chain), chain, Time(chain), "score"))
    with pytest.raises(ValueError, match="up to three axes"):
        VariationalDequantisation((1, 2, 2, 2, 2))
    with pytest.raises(ValueError, match="2 couplings or more"):
        VariationalDequantisation((2,), couplings=1)


class Spoilt(nn.Module):
    """A score that is -x for all but some rows, where it is ``value`` of x."""

    def __init__(self, value: Callable[[Tensor], Tensor], *rows: int) -> None:
        super().__init__()
        self.value, self.rows = value, torch.tensor(rows)

    def forward(self, x: Tensor, labels: Tensor, row: Tensor) -> Tensor:
        return torch.where(torch.isin(row, self.rows)[:, None], self.value(x), -x)


def fitted(value: Callable[[Tensor], Tensor], *rows: int, steps: int = 20) -> VariationalDequantisation:
    """By a model of the 16 cells that is spoilt for some of them."""
    model = NoiseModel(Spoilt(value, *rows), SDE, Time(SDE), "score")
    torch.manual_seed(0)
    dequantise = VariationalDequantisation((2,), levels=LEVELS)
    fit_dequantisation(
        dequantise, model, CELLS, seed=0, steps=steps, batch_size=4, learning_rate=1e-3,
        conditions=lambda x, rows: {"row": rows},
    )  # fmt: skip
    return dequantise


def test_a_model_that_explodes_is_told_and_where() -> None:
    """At the first step that draws row 5 or row 11, and those of them that it draws."""
    fitted(lambda x: -x, 5, 11)
    drawn = [Noise(0, range(4 * k, 4 * k + 4)).integers(len(CELLS)).tolist() for k in range(20)]
    first = next(k for k, rows in enumerate(drawn) if {5, 11} & set(rows))
    for spoil in (lambda x: x * math.nan, lambda x: x * math.inf):
        with pytest.raises(NotFiniteError, match=f"the bound is not finite at step {first} of") as caught:
            fitted(spoil, 5, 11)
        assert caught.value.rows == tuple(sorted({5, 11} & set(drawn[first])))


def test_a_gradient_that_is_not_finite_is_told() -> None:
    """sqrt(|0 x|) is zero, its derivative 0 times infinity; also at the last step, after which no bound is taken."""
    with pytest.raises(NotFiniteError, match="the bound's gradient is not finite at step 0 of") as caught:
        fitted(lambda x: (0 * x).abs().sqrt() - x, *range(16), steps=1)
    drawn = Noise(0, range(4)).integers(len(CELLS)).tolist()
    assert caught.value.rows == tuple(sorted(set(drawn)))
