"""4096 samples of each method against the exact posterior; docs/posteriors.md has the whole table.

Two errors: of the mean, in root-mean-square standard deviations of the posterior, and of the covariance, in
its Frobenius norm. N exact samples have 1 / sqrt(N) = 0.016 and sqrt((d + 1) / N), d = (tr C)^2 / |C|^2.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks.posterior_toys import (
    COUNT,
    OPERATORS,
    SHAPE,
    SIZE,
    STD,
    Law,
    Problem,
    dense,
    errors,
    law,
    model,
)
from models.prediction.noise_model import Model
from samplers.constraints import Replacement, repaint
from samplers.inverse import DPS, MomentMatching, PseudoInverseGuidance
from sde_lib import Noise
from tests.oracles import CASES


def matching(problem: Problem) -> Model:
    return MomentMatching(problem.model, problem.operator, noise_std=problem.noise_std, iterations=8)


def test_exact_posterior_is_that_of_weighed_draws() -> None:
    """The oracle itself, on the mixture: draws of the data, weighed by their likelihood."""
    problem = Problem("mixture", OPERATORS["downsample"], 0.3)
    count = 2**17
    network = model("mixture", CASES["vp"].process).network
    x = network.draw((count, *SHAPE), Noise(5, range(count)))  # type: ignore[operator]
    squares = (problem.operator.apply(x) - problem.y).flatten(1).square().sum(1)
    weights = (-squares / (2 * 0.3**2)).softmax(0).double()
    flat = x.double().flatten(1)
    mean = weights @ flat
    covariance = (weights[:, None] * (flat - mean)).T @ (flat - mean)
    # As good as this many even draws: about ten thousand, so errors of 0.01 and 0.04.
    even = float(1 / weights.square().sum())
    assert even > 5000
    exact = problem.posterior
    assert float((mean - exact.mean).norm() / exact.covariance.trace().sqrt()) < 2 / math.sqrt(even)
    assert float((covariance - exact.covariance).norm() / exact.covariance.norm()) < 0.06


@pytest.mark.parametrize(
    ("operator", "noise_std"), [("mask", 0.0), ("downsample", 0.05), ("projection", 0.3)]
)
def test_moment_matching_samples_the_posterior_of_correlated_gaussians(
    operator: str, noise_std: float
) -> None:
    """Exact but for the solver's steps: both errors are those of exact samples, within half as much again."""
    problem = Problem("correlated", OPERATORS[operator], noise_std)
    found = problem.errors(problem.sampler(matching(problem), "unipc", 20), measurement=problem.measurements)
    assert found.mean < 0.03
    assert found.covariance < 1.5 * found.floor


@pytest.mark.slow
@pytest.mark.parametrize("process", ["subvp", "ve", "ddpm"])
def test_moment_matching_samples_the_posterior_under_every_process(process: str) -> None:
    problem = Problem("correlated", OPERATORS["mask"], 0.05, CASES[process].process)
    found = problem.errors(problem.sampler(matching(problem), "unipc", 20), measurement=problem.measurements)
    assert found.mean < 0.03
    assert found.covariance < 1.5 * found.floor


@pytest.mark.slow
def test_moment_matching_with_ancestral_steps_and_langevin() -> None:
    """Stochastic: steps of first order, and a corrector that is hotter by snr^2 = 1 %."""
    problem = Problem("correlated", OPERATORS["mask"], 0.05)
    run = problem.sampler(matching(problem), "ancestral_sampling", 100, "langevin", snr=0.1)
    found = problem.errors(run, measurement=problem.measurements)
    assert found.mean < 0.04
    assert found.covariance < 0.1


@pytest.mark.parametrize(
    ("operator", "noise_std"), [("mask", 0.0), ("downsample", 0.05), ("projection", 0.3)]
)
def test_pseudo_inverse_guidance_samples_the_posterior_of_data_of_its_variance(
    operator: str, noise_std: float
) -> None:
    problem = Problem("independent", OPERATORS[operator], noise_std)
    guided = PseudoInverseGuidance(problem.model, problem.operator, noise_std=noise_std, data_std=STD)
    found = problem.errors(problem.sampler(guided, "unipc", 20), measurement=problem.measurements)
    assert found.mean < 0.03
    assert found.covariance < 1.5 * found.floor


def ddim_law(problem: Problem, times: list[float], kind: str) -> Law:
    """The law of DDIM's output on Gaussian data, where each step is affine: x -> M x + b, then the projection.

    Where times rise, the step is the forward process.
    """
    o, p = CASES["vp"].oracle, law(problem.data)
    mean, C = p.means[0].numpy(), p.covariances[0].numpy()
    A, y, eye = dense(problem.operator).numpy(), problem.y.double().flatten().numpy(), np.eye(SIZE)
    inverse = np.linalg.pinv(A)
    P = inverse @ A
    m, S = np.zeros(SIZE), np.eye(SIZE)

    def project(m: np.ndarray, S: np.ndarray, alpha: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        if kind != "replacement":
            return m, S
        return (eye - P) @ m + alpha * inverse @ y, (eye - P) @ S @ (eye - P) + sigma**2 * P

    def data_estimate(alpha: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """x_0 = K x + k."""
        V = np.linalg.inv(np.linalg.inv(C) + (alpha / sigma) ** 2 * eye)
        K, k = alpha / sigma**2 * V, V @ np.linalg.solve(C, mean)
        if kind == "dps":
            pull = V @ A.T / problem.noise_std**2
            K, k = K - pull @ A @ K, k + pull @ (y - A @ k)
        return K, k

    m, S = project(m, S, o.alpha(times[0]), o.sigma(times[0]))
    for t, s in zip(times[:-1], times[1:]):
        if s > t:
            kept = o.alpha(s) / o.alpha(t)
            m, S = kept * m, kept**2 * S + (o.sigma(s) ** 2 - (kept * o.sigma(t)) ** 2) * eye
        else:
            K, k = data_estimate(o.alpha(t), o.sigma(t))
            ratio = o.sigma(s) / o.sigma(t)
            M = ratio * eye + (o.alpha(s) - ratio * o.alpha(t)) * K
            m, S = M @ m + (o.alpha(s) - ratio * o.alpha(t)) * k, M @ S @ M.T
        m, S = project(m, S, o.alpha(s), o.sigma(s))
    K, k = data_estimate(o.alpha(times[-1]), o.sigma(times[-1]))
    m, S = project(K @ m + k, K @ S @ K.T, 1.0, 0.0)
    return Law(torch.ones(1).double(), torch.tensor(m)[None], torch.tensor(S)[None])


def test_replacement_has_the_bias_that_it_must() -> None:
    """Its law is known, and is not the posterior: the hidden half's mean is drawn back towards the prior's.

    By its law, 0.67 of the way for this measurement, and 0.69 to 0.79 for five others.
    """
    problem = Problem("correlated", OPERATORS["mask"], 0.0)
    constraints = (Replacement(problem.operator, problem.measurements),)
    run = problem.sampler(problem.model, "ddim", 50, constraints=constraints)
    x = run.sample((COUNT, *SHAPE), Noise(0, range(COUNT))).x
    predicted, exact = ddim_law(problem, run.times.tolist(), "replacement"), problem.posterior
    found = errors(x, predicted.mean, predicted.covariance)
    assert found.mean < 0.03
    assert found.covariance < 1.5 * found.floor
    hidden = slice(8, None)
    bias, towards = ((m - exact.mean)[hidden] for m in (predicted.mean, law("correlated").mean))
    assert float(bias @ towards / towards.square().sum()) == pytest.approx(0.67, abs=0.01)
    assert float(torch.cosine_similarity(bias, towards, dim=0)) > 0.99


def test_dps_has_the_bias_that_it_must() -> None:
    """With w = 1 / (2 noise_std^2) its law is known: narrower than the posterior and off in the mean."""
    problem = Problem("independent", OPERATORS["mask"], 0.3)
    guided = DPS(problem.model, problem.operator, noise_std=0.3, weight="likelihood")
    run = problem.sampler(guided, "ddim", 50)
    x = run.sample((COUNT, *SHAPE), Noise(0, range(COUNT)), measurement=problem.measurements).x
    predicted, exact = ddim_law(problem, run.times.tolist(), "dps"), problem.posterior
    found = errors(x, predicted.mean, predicted.covariance)
    assert found.mean < 0.03
    assert found.covariance < 1.5 * found.floor
    seen = dense(problem.operator)
    narrower = (seen @ predicted.covariance @ seen.T).trace() / (seen @ exact.covariance @ seen.T).trace()
    assert float(narrower) < 0.7


@pytest.mark.slow
def test_repaint_has_the_law_that_it_must() -> None:
    """Along the walk up and down, nearer to the posterior as the passes grow: ten leave less than half the bias."""
    problem = Problem("correlated", OPERATORS["mask"], 0.0)
    constraints = (Replacement(problem.operator, problem.measurements),)
    plain = problem.sampler(problem.model, "ddim", 50, constraints=constraints)
    bias = []
    for passes in (1, 3, 10):
        run = repaint(plain, jump_length=10, resamplings=passes)
        predicted = ddim_law(problem, run.times.tolist(), "replacement")
        found = errors(
            run.sample((COUNT, *SHAPE), Noise(0, range(COUNT))).x, predicted.mean, predicted.covariance
        )
        assert found.mean < 0.03
        assert found.covariance < 1.5 * found.floor
        bias.append(float((predicted.mean - problem.posterior.mean).norm()))
    assert bias[0] > bias[1] > bias[2]
    assert bias[2] < 0.5 * bias[0]


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
def test_methods_on_a_mixture(operator: str) -> None:
    """Nothing is exact there. The mean is nearest with moment matching, which knows the local covariance."""
    problem = Problem("mixture", OPERATORS[operator], 0.3)
    y = problem.measurements
    pigdm = PseudoInverseGuidance(problem.model, problem.operator, noise_std=0.3, data_std=0.6)
    dps = DPS(problem.model, problem.operator, zeta=0.2, num_steps=50)
    ours = problem.errors(problem.sampler(matching(problem), "unipc", 20), measurement=y).mean
    theirs = problem.errors(problem.sampler(pigdm, "unipc", 20), measurement=y).mean
    assert ours < theirs < problem.errors(problem.sampler(dps, "ddim", 50), measurement=y).mean
    assert ours < 0.3
