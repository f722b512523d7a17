"""Guided sampling and guided likelihoods reach the conditional distribution, with everything registered.

A mixture guided at scale 1 by its exact classifier has the score of one mode, so a sampler must do, draw for
draw, what it does with that mode's own model; and the mode is a Gaussian, whose moments are known.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from likelihood import ExactTrace, Hutchinson, log_likelihood
from models.base import Network
from models.prediction.noise_model import Model
from samplers import (
    ODESampler,
    PCSampler,
    get_pc_conditional_sampler,
    register_corrector,
    register_predictor,
)
from samplers.correctors.none import NoneCorrector
from samplers.guidance import ClassifierFreeGuidance, ClassifierGuidance, LogProbGuidance
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib import VESDE, VPSDE, Noise, Process
from sde_lib.grids import LogSNR, Uniform
from tests.oracles import CASES
from tests.samplers.guided import (
    F64,
    MEANS,
    NULL,
    STDS,
    WEIGHTS,
    classifier,
    conditional,
    mixture_score,
    mode,
    mode_score,
    states,
    unconditional,
)

PREDICTORS = [name for name in register_predictor if not register_predictor[name].encodes and name != "none"]
SLOW = pytest.mark.slow
MATRIX = ["vp", "subvp", "ve", "flow", "ddpm", "smld"]
QUICK = {"ancestral_sampling", "ddim"}


def by_classifier(process: Process) -> Model:
    return ClassifierGuidance(unconditional(process), classifier(process))


def by_label(process: Process) -> Model:
    # At scale 1 the pair would be spared; an evaluation of it shows that the mixture of the two is right.
    halfway = ClassifierFreeGuidance(conditional(process), NULL, 1 + 1e-13)
    assert halfway.scale != 1
    return halfway


GUIDED = {"classifier": by_classifier, "classifier_free": by_label}


def sampler(
    model: Model, predictor: str, corrector: str = "none", steps: int = 8, grid: Any = Uniform
) -> PCSampler:
    return PCSampler(
        model,
        register_predictor[predictor](),
        register_corrector[corrector](),
        grid().times(model.process, steps),
    )


def same_draws(run: Any, process: Any, guided: str) -> None:
    """Six samples of three classes, to 1e-8 of the largest: rounding, amplified by the steps."""
    y = torch.arange(6) % 3
    found, expected = run(GUIDED[guided](process), y=y), run(mode(process), y=y)
    assert float((found - expected).abs().max()) <= 1e-8 * float(expected.abs().max())


@pytest.mark.parametrize("guided", GUIDED)
@pytest.mark.parametrize("process", MATRIX)
@pytest.mark.parametrize(
    "predictor", [pytest.param(p, marks=SLOW) if p == "adaptive_sde" else p for p in PREDICTORS]
)
def test_every_predictor_does_what_it_does_with_the_modes_own_model(
    predictor: str, process: str, guided: str
) -> None:
    p = CASES[process].process
    if not isinstance(p, register_predictor[predictor].needs):
        pytest.skip("needs another process")
    if process != "vp" and predictor == "adaptive_sde":
        pytest.skip("its steps are hundreds; on one process they are enough")

    def run(model: Model, **cond: Tensor) -> Tensor:
        steps = 2 if predictor == "adaptive_sde" else 8
        noise = Noise(3, range(6), dtype=torch.float64)
        return sampler(model, predictor, steps=steps).sample((6, 2), noise, **cond).x

    same_draws(run, p, guided)


@pytest.mark.parametrize("guided", GUIDED)
@pytest.mark.parametrize("process", MATRIX)
@pytest.mark.parametrize("corrector", [name for name in register_corrector if name != "none"])
def test_every_corrector_too(corrector: str, process: str, guided: str) -> None:
    def run(model: Model, **cond: Tensor) -> Tensor:
        noise = Noise(3, range(6), dtype=torch.float64)
        return sampler(model, "ancestral_sampling", corrector).sample((6, 2), noise, **cond).x

    same_draws(run, CASES[process].process, guided)


@pytest.mark.parametrize("guided", GUIDED)
@pytest.mark.parametrize("process", ["vp", "subvp", "ve", "flow"])
def test_the_probability_flow_too(process: str, guided: str) -> None:
    """Samples leave the solver's batch at different times; their labels go with them."""

    def run(model: Model, **cond: Tensor) -> Tensor:
        noise = Noise(3, range(6), dtype=torch.float64)
        return ODESampler(model).sample((6, 2), noise, **cond).x

    same_draws(run, CASES[process].process, guided)


@pytest.mark.parametrize("predictor", [p if p in QUICK else pytest.param(p, marks=SLOW) for p in PREDICTORS])
def test_samples_have_the_conditional_moments(predictor: str) -> None:
    """N(mu_1, 0.35^2 I) from 2048 samples of two coordinates.

    Five standard errors, std/sqrt(n) of a mean and std/sqrt(2 n) of a standard deviation, and on top 1 % and 5 %
    of the standard deviation for steps of finite length (100 of them, of order one).
    """
    n, process = 2048, VPSDE()
    steps = 2 if predictor == "adaptive_sde" else 100
    y = torch.full((n,), 1)
    x = (
        sampler(by_classifier(process), predictor, steps=steps, grid=LogSNR)
        .sample((n, 2), Noise(5, range(n)), y=y)
        .x
    )
    for j in range(2):
        assert x[:, j].mean().item() == pytest.approx(MEANS[1][j], abs=(5 / math.sqrt(n) + 0.01) * STDS[1])
        assert x[:, j].std().item() == pytest.approx(STDS[1], rel=5 / math.sqrt(2 * n) + 0.05)


@SLOW
def test_mean_shift_reaches_the_conditional_distribution_as_steps_become_small() -> None:
    """ADM's form, beta-tilde times the gradient, on 250 levels; bounds as above, for mode 0, and 5 % for its mean."""
    n, process = 512, CASES["ddpm"].process
    model = ClassifierGuidance(unconditional(process), classifier(process), shift="mean")
    run = PCSampler(model, AncestralSampling(), NoneCorrector(), Uniform().times(process, 250))
    x = run.sample((n, 2), Noise(5, range(n)), y=torch.zeros(n, dtype=torch.int64)).x
    for j in range(2):
        assert x[:, j].mean().item() == pytest.approx(MEANS[0][j], abs=(5 / math.sqrt(n) + 0.05) * STDS[0])
        assert x[:, j].std().item() == pytest.approx(STDS[0], rel=5 / math.sqrt(2 * n) + 0.05)


@pytest.mark.parametrize(
    "make",
    [
        by_classifier,
        lambda p: ClassifierGuidance(unconditional(p), classifier(p), 2.0, (0.1, 3.0)),
        lambda p: ClassifierFreeGuidance(conditional(p), NULL, 3.0, (0.1, 3.0), rescale=0.7),
        lambda p: LogProbGuidance(conditional(p), lambda x, t: -x.square().sum(1), 0.5),
    ],
    ids=["classifier", "interval", "classifier_free", "log_prob"],
)
@pytest.mark.parametrize("method", ["pc", pytest.param("ode", marks=SLOW)])
def test_a_guided_sample_is_its_own(make: Any, method: str) -> None:
    """Sample k is a function of the seed, k and its label: alone or in any batch, and again."""
    process = VPSDE()

    def draw(indices: list[int]) -> Tensor:
        model = make(process)
        noise, y = Noise(11, indices, dtype=torch.float64), torch.tensor(indices) % 3
        run = sampler(model, "ancestral_sampling", "langevin") if method == "pc" else ODESampler(model)
        return run.sample((len(indices), 2), noise, y=y).x  # type: ignore[attr-defined]

    batch = draw([0, 1, 2, 3, 4])
    torch.testing.assert_close(draw([3]), batch[3:4], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(draw([4, 1]), batch[[4, 1]], rtol=1e-9, atol=1e-9)
    assert torch.equal(draw([0, 1, 2, 3, 4]), batch)


def test_evaluations_are_counted() -> None:
    """Ten times, two evaluations each; with an interval that holds k of them, 10 + k."""
    process, y = VPSDE(), torch.zeros(3, dtype=torch.int64)

    def nfe(model: Model) -> int:
        return sampler(model, "ddim", steps=10).sample((3, 2), Noise(0, range(3)), y=y).nfe

    times = Uniform().times(process, 10)
    m = process.marginal(times)
    held = int(((m.sigma / m.alpha > 0.5) & (m.sigma / m.alpha <= 5)).sum())
    assert 0 < held < 10
    assert nfe(by_classifier(process)) == 10
    assert nfe(ClassifierFreeGuidance(conditional(process), NULL, 2.0)) == 20
    assert nfe(ClassifierFreeGuidance(conditional(process), NULL, 2.0, (0.5, 5.0))) == 10 + held


# Likelihoods ---------------------------------------------------------------------------------------


def flow_logp(x: Tensor, y: Tensor, process: str) -> tuple[Tensor, Tensor]:
    """The log-density of mode y's own flow, and log p_t(x | y) itself, at t = 1e-5.

    A Gaussian's flow is linear: z = alpha_T mu + (x - alpha_t mu) s_T / s_t, s^2 = alpha^2 c^2 + sigma^2, and it
    reads z in the prior, where p_T would give log p_t(x | y).
    """
    o, centre, width = CASES[process].oracle, F64(MEANS)[y], F64(STDS)[y][:, None]
    s0, s1 = (((o.alpha(t) * width) ** 2 + o.sigma(t) ** 2).sqrt() for t in (1e-5, 1.0))
    unit = (x - o.alpha(1e-5) * centre) / s0
    z = o.alpha(1.0) * centre + unit * s1
    prior = torch.distributions.Normal(0.0, o.prior_std).log_prob(z) + (s1 / s0).log()
    own = torch.distributions.Normal(0.0, 1.0).log_prob(unit) - s0.log()
    return prior.sum(1), own.sum(1)


def data(y: Tensor) -> Tensor:
    z = Noise(2, range(len(y)), dtype=torch.float64).normal((len(y), 2))
    return F64(MEANS)[y] + F64(STDS)[y][:, None] * z


@SLOW
@pytest.mark.parametrize("guided", GUIDED)
@pytest.mark.parametrize(
    ("process", "coordinates"), [("vp", "angle"), ("subvp", "angle"), ("ve", "angle"), ("vp", "time")]
)
def test_the_guided_flows_likelihood_is_the_conditional_density(
    process: str, coordinates: Any, guided: str
) -> None:
    """Five data of three classes at once, exact trace: the flow's own density to 1e-5 nats.

    From log p(x | y) it differs by what the prior does from p_T: z alpha_T mu, of a means' distance of 0.007 (VP)
    and 0.9/50 (VE) prior deviations, and (c alpha_T)^2 in the variance.
    """
    y = torch.tensor([0, 1, 2, 1, 0])
    x = data(y)
    found = log_likelihood(
        GUIDED[guided](CASES[process].process),
        x,
        Noise(0, range(5)),
        divergence=ExactTrace(),
        rtol=1e-7,
        atol=1e-7,
        coordinates=coordinates,
        y=y,
    )
    own, conditional_density = flow_logp(x, y, process)
    assert (found.logp - own).abs().max() <= 1e-5
    assert (found.logp - conditional_density).abs().max() <= 0.05


@pytest.mark.parametrize("guided", ["classifier", "classifier_free"])
def test_the_divergence_has_the_guidances_second_derivatives(guided: str) -> None:
    """At scale w the flow's score is the gradient of (1 - w) log p(x) + w log p(x | y): its Laplacian, by autograd."""
    case, w, y = CASES["vp"], 3.0, torch.tensor([0, 1, 2, 1])
    x, t = states(case)
    model: Model = {
        "classifier": lambda: ClassifierGuidance(unconditional(case.process), classifier(case.process), w),
        "classifier_free": lambda: ClassifierFreeGuidance(conditional(case.process), NULL, w),
    }[guided]()
    found = ExactTrace()(lambda at: model(at, t, y=y).score, x, x.new_zeros(4, 0, 2))

    def potential(row: Tensor, i: int) -> Tensor:
        a, s = case.oracle.alpha(float(t[i])), case.oracle.sigma(float(t[i]))
        variances = (a * F64(STDS)) ** 2 + s**2
        modes = -(row - a * F64(MEANS)).square().sum(1) / (2 * variances) - variances.log()
        return (1 - w) * (F64(WEIGHTS).log() + modes).logsumexp(0) + w * modes[y[i]]

    for i in range(4):
        hessian = torch.autograd.functional.hessian(lambda row, i=i: potential(row, i), x[i])  # type: ignore[misc]
        assert float(found.trace[i, 0]) == pytest.approx(float(hessian.trace()), rel=1e-9)
    torch.testing.assert_close(
        found.value, (1 - w) * mixture_score(case, x, t) + w * mode_score(case, x, t, y), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("guided", GUIDED)
def test_a_guided_likelihood_is_its_samples_own(guided: str) -> None:
    """Labels and probes leave the solver's batch with their sample; a pair counts as two evaluations."""
    process, y = VPSDE(), torch.tensor([2, 0, 1, 1, 0, 2, 1])
    x = data(y) * torch.linspace(0.2, 3, 7)[:, None]  # far ones take more steps

    def logp(rows: list[int]) -> Any:
        noise = Noise(4, rows, dtype=torch.float64)
        return log_likelihood(
            GUIDED[guided](process), x[rows], noise, divergence=Hutchinson(num_probes=2), y=y[rows]
        )

    batch = logp(list(range(7)))
    assert len(set(batch.nfe.tolist())) > 1
    for rows in ([3], [6, 0]):
        alone = logp(rows)
        torch.testing.assert_close(alone.logp, batch.logp[rows], rtol=1e-9, atol=1e-9)
        assert torch.equal(alone.nfe, batch.nfe[rows])
    plain = log_likelihood(mode(process), x, Noise(4, range(7), dtype=torch.float64), y=y,
                           divergence=Hutchinson(num_probes=2))  # fmt: skip
    assert torch.equal(batch.nfe, plain.nfe * (2 if guided == "classifier_free" else 1))


# score_sde's entry point ---------------------------------------------------------------------------


class ByNoiseLevel(Network):
    """The mixture's classifier as the ancestor's is called, at (x, sigma), with a temperature to be loaded."""

    def __init__(self, process: VESDE) -> None:
        super().__init__()
        self.exact, self.process = classifier(process), process
        self.weight = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        t = (labels.double() / self.process.sigma_min).log() / math.log(
            self.process.sigma_max / self.process.sigma_min
        )
        return self.weight * self.exact(x, t)


def test_the_ancestors_conditional_sampler() -> None:
    """Its arguments in its order; the result is that of the guided loop, in the data's scale."""
    sde, labels = VESDE(N=20), torch.tensor([0, 2, 1])
    make = (
        sde,
        unconditional(sde),
        ByNoiseLevel(sde),
        {"weight": torch.tensor(1.0)},
        (3, 2),
        ReverseDiffusion,
    )
    run = get_pc_conditional_sampler(*make, None, lambda x: 2 * x + 1, 0.16, device="cpu", seed=4)  # type: ignore[arg-type]
    own = PCSampler(by_classifier(sde), ReverseDiffusion(), NoneCorrector(), Uniform().times(sde, 20))
    expected = own.sample((3, 2), Noise(4, range(3)), y=labels).x
    torch.testing.assert_close(run(labels), 2 * expected + 1, rtol=1e-4, atol=1e-4)
    fresh = own.sample((3, 2), Noise(4, range(3, 6)), y=labels).x
    torch.testing.assert_close(run(labels), 2 * fresh + 1, rtol=1e-4, atol=1e-4)
    with pytest.raises(
        ValueError, match=r"makes 3 samples and needs as many labels, of shape \(3,\); got \(2,\)"
    ):
        run(labels[:2])
    with pytest.raises(RuntimeError, match="Unexpected key"):
        get_pc_conditional_sampler(
            *make[:3], {"w": torch.ones(1)}, *make[4:], None, lambda x: x, 0.16, device="cpu"
        )  # type: ignore[arg-type]
