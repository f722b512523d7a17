"""Autoguidance, CFG++ and projected guidance on exact scores: the guided prediction is its formula's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel, Output
from models.prediction.time_encoding import Time
from samplers import DDIM, ClassifierFreeGuidance, Heun, ODESampler
from samplers.guidance import Autoguidance, CFGPlusPlus, ProjectedGuidance
from sde_lib import EDM, Noise
from tests.oracles import CASES, Case
from tests.samplers.guided import F64, NULL, conditional, mixture_score, mode_score, states, unconditional
from tests.samplers.test_guidance import assert_scores, viewed

Y = torch.tensor([0, 1, 2, 1])
VP = CASES["vp"]


def wide(case: Case) -> NoiseModel:
    """A worse model: one Gaussian."""
    network = GaussianScore(process=case.process, mean=0.1, std=0.9)
    return NoiseModel(network, case.process, Time(case.process), "score")


# Autoguidance --------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["score", "eps", "x0", "v"])
def test_autoguidance_goes_away_from_the_worse_score(case: Case, view: Output) -> None:
    """score_worse + 2.5 (score - score_worse), Karras et al. 2024, eq. 3, whatever either network gives."""
    x, t = states(case)
    guided = Autoguidance(viewed(case, view, unconditional(case.process)), wide(case), 2.5)
    o = case.oracle
    a, s = (F64([f(float(v)) for v in t])[:, None] for f in (o.alpha, o.sigma))
    worse = (a * 0.1 - x) / ((0.9 * a) ** 2 + s**2)
    assert_scores(guided(x, t).score, worse + 2.5 * (mixture_score(case, x, t) - worse))


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 3.0])
def test_an_autoguided_gaussian_has_its_density(scale: float) -> None:
    """For N(0.3, c^2) guided by N(0.3, b^2) the score is -(x - 0.3) (w / (c^2 + v) + (1 - w) / (b^2 + v)), v = sigma^2.

    The flow dx / dv = -score / 2 keeps (x - 0.3) / ((c^2 + v)^(w/2) (b^2 + v)^((1-w)/2)): so the deviation goes.
    """
    process, c, b = EDM(), 0.5, 0.8
    good, worse = (
        NoiseModel(GaussianScore(process=process, mean=0.3, std=std), process, Time(process), "score")
        for std in (c, b)
    )
    guided = Autoguidance(good, worse, scale)
    z = torch.tensor([[0.3, 80.3, -39.7]], dtype=torch.float64)
    found = ODESampler(guided, rtol=1e-8, atol=1e-8, noise_removal=False).decode(z).x

    def size(v: float) -> float:
        return (c**2 + v) ** (scale / 2) * (b**2 + v) ** ((1 - scale) / 2)

    expected = 0.3 + (z - 0.3) * size(0.002**2) / size(80.0**2)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_autoguidance_spares_the_guide_where_it_does_not_count() -> None:
    x, t = states(VP)
    counts = []
    # sigma/alpha of the four states goes from 0.03 to 25: the interval holds two of them, or none.
    for scale, interval in ((2.0, None), (1.0, None), (2.0, (0.1, 5.0)), (2.0, (1e3, 1e4))):
        model, guide = unconditional(VP.process), wide(VP)
        guided = Autoguidance(model, guide, scale, interval)
        score = guided(x, t).score
        counts.append((model.nfe, guide.nfe, guided.nfe))
        inside = [interval is None or low_high(interval, v) for v in t.tolist()]
        same = (score == model(x, t).score).all(1).tolist()
        assert same == [scale == 1 or not here for here in inside]
    assert counts == [(1, 1, 2), (1, 0, 1), (1, 1, 2), (1, 0, 1)]


def low_high(interval: tuple[float, float], t: float) -> bool:
    return interval[0] < VP.oracle.sigma(t) / VP.oracle.alpha(t) <= interval[1]


def test_the_guide_is_told_classes_where_it_knows_them() -> None:
    x, t = states(VP)
    told = Autoguidance(conditional(VP.process), conditional(VP.process), 2.0)(x, t, y=Y)
    assert_scores(told.score, mode_score(VP, x, t, Y))
    untold = Autoguidance(conditional(VP.process), unconditional(VP.process), 2.0, told=False)(x, t, y=Y)
    assert_scores(untold.score, 2 * mode_score(VP, x, t, Y) - mixture_score(VP, x, t))


# CFG++ ---------------------------------------------------------------------------------------------


def step_of_ddim(model: Any, case: Case, y: torch.Tensor) -> torch.Tensor:
    x, t = states(case, (0.2, 0.2, 0.2, 0.2))
    s = case.process.time([0.15 * case.oracle.start] * 4)
    return DDIM().update_fn(model.given(y=y), x, t, s, Noise(0, range(4), dtype=torch.float64)).x


@pytest.mark.parametrize("view", ["eps", "x0", "v"])
@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "flow", "ddpm"])
def test_cfg_plus_plus_is_a_larger_scale_in_a_step_of_ddim(name: str, view: Output) -> None:
    """alpha_s x0_w + sigma_s eps is the step of w / (1 - r_s / r_t), r = sigma / alpha: algebra on eps_y - eps."""
    case = CASES[name]
    o, t, s = case.oracle, 0.2 * case.oracle.start, 0.15 * case.oracle.start
    if name == "ddpm":
        t, s = round(t), round(s)
    scale = 0.6 / (1 - (o.sigma(s) / o.alpha(s)) / (o.sigma(t) / o.alpha(t)))
    model = viewed(case, view, conditional(case.process))
    found = step_of_ddim(CFGPlusPlus(model, NULL, 0.6), case, Y)
    expected = step_of_ddim(ClassifierFreeGuidance(model, NULL, scale), case, Y)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_cfg_plus_plus_within_its_interval_only() -> None:
    model = conditional(VP.process)
    outside = step_of_ddim(CFGPlusPlus(model, NULL, 0.6, (1e3, 1e4)), VP, Y)
    torch.testing.assert_close(outside, step_of_ddim(model, VP, Y), rtol=1e-12, atol=1e-12)
    x, t = states(VP)
    some = CFGPlusPlus(model, NULL, 0.6, (0.1, 5.0))(x, t, y=Y)
    assert some.renoise is not None
    assert torch.allclose(some.renoise[[0, 3]], model(x, t, y=Y).eps[[0, 3]], rtol=1e-12)
    none = model(x, t, y=torch.full_like(Y, NULL)).eps
    assert torch.allclose(some.renoise[[1, 2]], none[[1, 2]], rtol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_cfg_plus_plus_at_its_ends(scale: float) -> None:
    """0 is the unconditional model's step. 1 is not the conditional one's: the noise still has no label."""
    model = conditional(VP.process)
    label = Y if scale else torch.full_like(Y, NULL)
    plain = step_of_ddim(model, VP, label)
    found = step_of_ddim(CFGPlusPlus(model, NULL, scale), VP, Y)
    assert torch.allclose(found, plain, rtol=1e-12) == (scale == 0)


def test_other_samplers_see_classifier_free_guidance() -> None:
    x, t = states(VP)
    model = conditional(VP.process)
    found, expected = (g(model, NULL, 0.6)(x, t, y=Y) for g in (CFGPlusPlus, ClassifierFreeGuidance))
    assert_scores(found.score, expected.score)
    s = t * 0.9
    steps = [
        Heun().update_fn(g(model, NULL, 0.6).given(y=Y), x, t, s, Noise(0, range(4))).x
        for g in (CFGPlusPlus, ClassifierFreeGuidance)
    ]
    assert torch.equal(*steps)


# Projected guidance --------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["score", "eps", "x0", "v"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_all_of_the_parallel_part_is_classifier_free_guidance(case: Case, view: Output, scale: float) -> None:
    x, t = states(case)
    model = viewed(case, view, conditional(case.process))
    found = ProjectedGuidance(model, NULL, scale, eta=1.0)(x, t, y=Y)
    expected = ClassifierFreeGuidance(model, NULL, scale)(x, t, y=Y)
    assert float((found.x0 - expected.x0).abs().max()) <= 1e-9 * float(expected.x0.abs().max() + 1)


@pytest.mark.parametrize(("eta", "radius"), [(0.0, None), (0.3, None), (0.0, 0.2), (0.4, 0.2)])
def test_the_difference_is_shortened_and_projected(eta: float, radius: float | None) -> None:
    """Sadat et al. 2024, algorithm 1, without momentum, one sample at a time."""
    x, t = states(VP)
    model = conditional(VP.process)
    found = ProjectedGuidance(model, NULL, 4.0, eta=eta, radius=radius)(x, t, y=Y).x0
    told, untold = model(x, t, y=Y).x0, model(x, t, y=torch.full_like(Y, NULL)).x0
    for row, d_y, d in zip(found.tolist(), told.tolist(), untold.tolist(), strict=True):
        away = [a - b for a, b in zip(d_y, d, strict=True)]
        shrink = 1.0 if radius is None else min(1.0, radius / math.hypot(*away))
        away = [shrink * a for a in away]
        along = sum(a * b for a, b in zip(away, d_y, strict=True)) / sum(b * b for b in d_y)
        parallel = [along * b for b in d_y]
        expected = [b + 3.0 * (a - p + eta * p) for a, b, p in zip(away, d_y, parallel, strict=True)]
        assert row == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_radius_is_of_effect_on_some() -> None:
    """Else the test above would show nothing: of the four differences some are longer than 0.2 and some are not."""
    x, t = states(VP)
    model = conditional(VP.process)
    away = model(x, t, y=Y).x0 - model(x, t, y=torch.full_like(Y, NULL)).x0
    assert 0 < (away.norm(dim=1) > 0.2).sum() < 4


def test_projected_guidance_within_its_interval_only() -> None:
    x, t = states(VP)
    model = conditional(VP.process)
    found = ProjectedGuidance(model, NULL, 4.0, (0.1, 5.0))(x, t, y=Y).x0
    same = torch.isclose(found, model(x, t, y=Y).x0, rtol=1e-12).all(1)
    assert same.tolist() == [not low_high((0.1, 5.0), v) for v in t.tolist()]


@pytest.mark.parametrize(
    ("scale", "eta", "radius", "nfe"),
    [(1.0, 0.0, None, 1), (0.0, 1.0, None, 1), (0.0, 1.0, 1.0, 2), (0.0, 0.5, None, 2)],
)
def test_projected_guidance_evaluates_what_it_needs(
    scale: float, eta: float, radius: float | None, nfe: int
) -> None:
    x, t = states(VP)
    guided = ProjectedGuidance(conditional(VP.process), NULL, scale, eta=eta, radius=radius)
    guided(x, t, y=Y)
    assert guided.nfe == nfe


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: CFGPlusPlus(m, NULL, 1.5), "scale"),
        (lambda m: ProjectedGuidance(m, NULL, 2.0, eta=1.5), "eta"),
        (lambda m: ProjectedGuidance(m, NULL, 2.0, radius=0.0), "radius"),
        (lambda m: Autoguidance(m, m, math.inf), "finite"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(conditional(VP.process))
