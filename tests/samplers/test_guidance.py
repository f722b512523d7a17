"""Guided models against the densities that guidance stands for.

Data are a mixture; its modes are the classes. Classifier guidance with the mixture's own classifier, and
classifier-free guidance with its own conditional score, must at scale 1 be the score of one mode.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.base import Network
from models.exact.mixtures import GaussianScore
from models.prediction.denoised import Clip, Denoised
from models.prediction.noise_model import Model, NoiseModel, Output
from models.prediction.time_encoding import Time
from samplers.guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    DenoisedLossGuidance,
    Interval,
    LogProbGuidance,
    gradient,
)
from samplers.predictors.ancestral_sampling import AncestralSampling
from sde_lib import SDE, Coefficients, Noise, expand
from tests.oracles import CASES, Case
from tests.samplers.guided import (
    NULL,
    classifier,
    conditional,
    mixture,
    mixture_score,
    mode_score,
    states,
    unconditional,
)

Y = torch.tensor([0, 1, 2, 1])
VP = CASES["vp"]


class Viewed(Network):
    """The exact score of a mixture as one of its other views."""

    time_label: ClassVar[str] = "time"

    def __init__(self, inner: NoiseModel, view: str, calls: list[int] | None = None) -> None:
        super().__init__()
        self.inner, self.view, self.calls = inner, view, calls if calls is not None else []

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        self.calls.append(len(x))
        return getattr(self.inner(x, self.inner.process.time(labels), **cond), self.view)


def viewed(case: Case, view: Output, of: NoiseModel, calls: list[int] | None = None) -> NoiseModel:
    return NoiseModel(Viewed(of, view, calls), case.process, Time(case.process), view)


def assert_scores(found: Tensor, expected: Tensor) -> None:
    """To 1e-10 of the largest component."""
    assert float((found - expected).abs().max()) <= 1e-10 * float(expected.abs().max())


@pytest.mark.parametrize("view", ["score", "eps", "x0", "v"])
def test_classifier_guidance_is_the_conditional_score(case: Case, view: Output) -> None:
    """grad log p(x_t) + grad log p(y | x_t) = grad log p(x_t | y), a Gaussian's; whatever the network gives."""
    x, t = states(case)
    model = ClassifierGuidance(viewed(case, view, unconditional(case.process)), classifier(case.process))
    assert_scores(model(x, t, y=Y).score, mode_score(case, x, t, Y))


@pytest.mark.parametrize("view", ["eps", "x0", "v"])
def test_views_of_a_guided_prediction_agree(view: Output) -> None:
    """Each solves x = alpha x0 + sigma eps, and v = alpha eps - sigma x0 (VP, r = 1)."""
    x, t = states(VP)
    p = ClassifierGuidance(viewed(VP, view, unconditional(VP.process)), classifier(VP.process), 2.5)(
        x, t, y=Y
    )
    m = VP.process.marginal(t)  # type: ignore[attr-defined]
    alpha, sigma = expand(m.alpha, x), expand(m.sigma, x)
    torch.testing.assert_close(alpha * p.x0 + sigma * p.eps, x)
    torch.testing.assert_close(alpha * p.eps - sigma * p.x0, p.v)
    torch.testing.assert_close(-p.eps / sigma, p.score)


@pytest.mark.parametrize("scale", [0.0, 0.7, 3.0])
def test_scale_multiplies_the_gradient(case: Case, scale: float) -> None:
    """grad log p(y | x_t) is the conditional score less the unconditional one."""
    x, t = states(case)
    whole, one = mixture_score(case, x, t), mode_score(case, x, t, Y)
    model = ClassifierGuidance(unconditional(case.process), classifier(case.process), scale)
    assert_scores(model(x, t, y=Y).score, whole + scale * (one - whole))


def test_a_conditional_model_is_guided_further() -> None:
    """ADM's use: it is told y as well, so the score is s(x | y) + w (s(x | y) - s(x))."""
    x, t = states(VP)
    whole, one = mixture_score(VP, x, t), mode_score(VP, x, t, Y)
    model = ClassifierGuidance(conditional(VP.process), classifier(VP.process), 2.0, conditional=True)
    assert_scores(model(x, t, y=Y).score, one + 2 * (one - whole))


@pytest.mark.parametrize("view", ["score", "eps", "x0", "v"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_classifier_free_guidance_extrapolates(case: Case, scale: float, view: Output) -> None:
    """(1 - w) s(x) + w s(x | y); at w = 1 the conditional score itself."""
    x, t = states(case)
    whole, one = mixture_score(case, x, t), mode_score(case, x, t, Y)
    model = ClassifierFreeGuidance(viewed(case, view, conditional(case.process)), NULL, scale)
    assert_scores(model(x, t, y=Y).score, (1 - scale) * whole + scale * one)


@pytest.mark.parametrize(("scale", "calls", "nfe"), [(3.0, [8], 2), (1.0, [4], 1), (0.0, [4], 1)])
def test_a_pair_is_one_call_and_two_evaluations(scale: float, calls: list[int], nfe: int) -> None:
    x, t = states(VP)
    made: list[int] = []
    model = ClassifierFreeGuidance(viewed(VP, "eps", conditional(VP.process), made), NULL, scale)
    model(x, t, y=Y)
    assert (made, model.nfe) == (calls, nfe)


def test_a_pair_shares_the_other_conditioning() -> None:
    """A small image, say, is given to both evaluations, in the order of the samples."""
    seen: list[Tensor] = []

    class Sees(Network):
        time_label: ClassVar[str] = "time"

        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            seen.extend([cond["y"], cond["low_res"], labels])
            return x

    model = ClassifierFreeGuidance(NoiseModel(Sees(), VP.process, Time(VP.process), "eps"), 10, 2.0)
    (x, t), small = states(VP), torch.arange(4.0)[:, None]
    model(x, t, y=Y, low_res=small)
    assert seen[0].tolist() == [0, 1, 2, 1, 10, 10, 10, 10]
    assert torch.equal(seen[1], torch.cat([small, small]))
    assert torch.equal(seen[2], torch.cat([t, t]))


def test_guidance_acts_within_its_interval_only() -> None:
    """sigma/alpha of VP at t = 0.01, 0.2, 0.5, 0.8 is 0.045, 0.72, 3.4 and 25: between 0.5 and 5 lie two."""
    x, t = states(VP)
    inside = torch.tensor([False, True, True, False])
    whole, one = mixture_score(VP, x, t), mode_score(VP, x, t, Y)
    by_label = ClassifierFreeGuidance(conditional(VP.process), NULL, 3.0, (0.5, 5.0))
    expected = torch.where(inside[:, None], -2 * whole + 3 * one, one)  # conditional outside
    assert_scores(by_label(x, t, y=Y).score, expected)
    by_gradient = ClassifierGuidance(unconditional(VP.process), classifier(VP.process), 3.0, (0.5, 5.0))
    expected = torch.where(inside[:, None], -2 * whole + 3 * one, whole)  # unguided outside
    assert_scores(by_gradient(x, t, y=Y).score, expected)


def test_no_pair_is_evaluated_where_no_sample_is_guided() -> None:
    x, t = states(VP, (0.9, 0.95, 0.99, 1.0))
    model = ClassifierFreeGuidance(conditional(VP.process), NULL, 3.0, (0.5, 5.0))
    assert_scores(model(x, t, y=Y).score, mode_score(VP, x, t, Y))
    assert model.nfe == 1


@pytest.mark.parametrize("process", ["ve", "smld", "ddpm"])
def test_the_interval_is_open_below_and_closed_above(process: str) -> None:
    """In units of sigma/alpha, which is sigma for VE: bounds at the levels of the second and third time."""
    case = CASES[process]
    _, t = states(case)
    ratio = [case.oracle.sigma(float(v)) / case.oracle.alpha(float(v)) for v in t]
    nudged = Interval(ratio[1] * (1 + 1e-9), ratio[2] * (1 + 1e-9))
    assert nudged.holds(case.process, t).tolist() == [False, False, True, False]
    nudged = Interval(ratio[1] * (1 - 1e-9), ratio[2] * (1 - 1e-9))
    assert nudged.holds(case.process, t).tolist() == [False, True, False, False]


@pytest.mark.parametrize("rescale", [0.3, 1.0])
def test_rescale_brings_the_spread_back(rescale: float) -> None:
    """Lin et al. 2024, eq. 14-16, written out in numpy for the network's output, eps."""
    x, t = states(VP)
    sigma = torch.tensor([VP.oracle.sigma(float(v)) for v in t], dtype=torch.float64)[:, None]
    told = (-sigma * mode_score(VP, x, t, Y)).numpy()
    mixed = -3.0 * (-sigma * mixture_score(VP, x, t)).numpy() + 4.0 * told
    ratio = told.std(1, keepdims=True) / mixed.std(1, keepdims=True)
    expected = rescale * mixed * ratio + (1 - rescale) * mixed
    model = ClassifierFreeGuidance(viewed(VP, "eps", conditional(VP.process)), NULL, 4.0, rescale=rescale)
    assert_scores(model(x, t, y=Y).eps, torch.from_numpy(expected))


class WithVariance(Network):
    """eps of the mixture, and as variance channels twice the state."""

    time_label: ClassVar[str] = "time"

    def __init__(self, inner: NoiseModel) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return torch.cat([self.inner(x, self.inner.process.time(labels), **cond).eps, 2 * x], 1)


def learned(of: NoiseModel) -> NoiseModel:
    return NoiseModel(WithVariance(of), of.process, Time(of.process), "eps", "learned_range")


@pytest.mark.parametrize(
    "guided",
    [
        lambda p: ClassifierGuidance(learned(unconditional(p)), classifier(p), 2.0),
        lambda p: ClassifierGuidance(learned(unconditional(p)), classifier(p), 2.0, shift="mean"),
        lambda p: ClassifierFreeGuidance(learned(conditional(p)), NULL, 2.0, rescale=0.5),
        lambda p: LogProbGuidance(learned(conditional(p)), lambda x, t: -x.square().sum(1)),
        lambda p: DenoisedLossGuidance(learned(conditional(p)), lambda x0: x0.square().sum(1)),
    ],
    ids=["classifier", "mean", "classifier_free", "log_prob", "loss"],
)
def test_learned_variances_pass_through(guided: Any) -> None:
    """Those of the conditional evaluation: twice the state, (B, 2), not that of the doubled batch."""
    x, t = states(VP)
    variance = guided(VP.process)(x, t, y=Y).variance
    assert variance is not None
    assert torch.equal(variance.values, 2 * x)


def beta_tilde(case: Case, t: int) -> float:
    """beta_t (1 - abar_{t-1}) / (1 - abar_t) (Ho et al. 2020, eq. 7)."""
    o = case.oracle
    return (1 - o.ratio(t)) * o.sigma(t - 1) ** 2 / o.sigma(t) ** 2


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_mean_shift_is_the_step_variance_times_the_gradient(variance: Any, clip: bool) -> None:
    """Dhariwal & Nichol 2021, algorithm 1: mean + s V grad log p(y | x_t), after x0 was clipped, if it is.

    V is beta-tilde or beta.
    """
    case, scale = CASES["ddpm"], 2.0
    x, t = states(case)
    step = AncestralSampling(variance=variance)

    def mean(model: Model) -> Tensor:
        model = Denoised(model, Clip()) if clip else model
        noise = Noise(0, range(4), dtype=torch.float64)
        return step.update_fn(model.given(y=Y), x, t, t - 1, noise).mean

    plain = LogProbGuidance(conditional(case.process), lambda x, t: x.sum(1), 0.0)  # takes y, changes nothing
    whole = ClassifierFreeGuidance(plain.model, NULL, 0.0)
    guided = ClassifierGuidance(unconditional(case.process), classifier(case.process), scale, shift="mean")
    v = [beta_tilde(case, int(i)) if variance == "small" else 1 - case.oracle.ratio(int(i)) for i in t]
    found = mixture_score(case, x, t)
    move = scale * torch.tensor(v, dtype=torch.float64)[:, None] * (mode_score(case, x, t, Y) - found)
    torch.testing.assert_close(mean(guided), mean(whole) + move, rtol=1e-9, atol=1e-12)


def test_mean_and_score_shift_differ_as_documented() -> None:
    """The first is V g, the second (alpha_s / alpha_t) beta g = beta / sqrt(1 - beta) g."""
    case = CASES["ddpm"]
    x, t = states(case)
    beta = torch.tensor([1 - case.oracle.ratio(int(i)) for i in t], dtype=torch.float64)[:, None]

    def mean(shift: Any, scale: float) -> Tensor:
        model = ClassifierGuidance(unconditional(case.process), classifier(case.process), scale, shift=shift)
        noise = Noise(0, range(4), dtype=torch.float64)
        return AncestralSampling(variance="large").update_fn(model.given(y=Y), x, t, t - 1, noise).mean

    by_mean, by_score = (mean(s, 1.0) - mean(s, 0.0) for s in ("mean", "score"))
    torch.testing.assert_close(by_mean, by_score * (1 - beta).sqrt(), rtol=1e-7, atol=1e-12)


def test_any_log_probability_guides() -> None:
    """Gaussian data N(0, c^2) and a measurement y = x0 + r z: p(x_t | y) is a Gaussian.

    x0 | y has precision 1/c^2 + 1/r^2 and mean y v / r^2; log p(y | x_t) is N(y; E[x0 | x_t], Var + r^2).
    """
    c, r, y = 0.7, 0.4, 0.9
    x, t = states(VP)
    a = torch.tensor([VP.oracle.alpha(float(v)) for v in t], dtype=torch.float64)[:, None]
    s = torch.tensor([VP.oracle.sigma(float(v)) for v in t], dtype=torch.float64)[:, None]
    total = (a * c) ** 2 + s**2

    def log_prob(x: Tensor, t: Tensor) -> Tensor:
        law = torch.distributions.Normal(a * c**2 / total * x, (c**2 * s**2 / total + r**2).sqrt())
        return law.log_prob(torch.tensor(y, dtype=torch.float64)).sum(1)

    plain = NoiseModel(
        GaussianScore(process=VP.process, mean=0.0, std=c), VP.process, Time(VP.process), "score"
    )
    v = 1 / (1 / c**2 + 1 / r**2)
    expected = (a * y * v / r**2 - x) / (a**2 * v + s**2)
    assert_scores(LogProbGuidance(plain, log_prob)(x, t).score, expected)


def test_a_loss_on_predicted_data_guides_through_the_network() -> None:
    """x0 = k x for Gaussian data: the gradient of |x0 - y|^2 / 2 is k (k x - y). One evaluation."""
    c, scale = 0.7, 1.5
    x, t = states(VP)
    a = torch.tensor([VP.oracle.alpha(float(v)) for v in t], dtype=torch.float64)[:, None]
    s = torch.tensor([VP.oracle.sigma(float(v)) for v in t], dtype=torch.float64)[:, None]
    total = (a * c) ** 2 + s**2
    k = a * c**2 / total
    plain = NoiseModel(
        GaussianScore(process=VP.process, mean=0.0, std=c), VP.process, Time(VP.process), "score"
    )
    model = DenoisedLossGuidance(
        plain, lambda x0, target: (x0 - target).square().sum(1) / 2, scale, conditional=False
    )
    target = torch.full((4, 2), 0.3, dtype=torch.float64)
    with torch.no_grad():
        p = model(x, t, target=target)
    assert_scores(p.score, -x / total - scale * k * (k * x - target))
    assert model.nfe == 1
    assert not p.score.requires_grad


def test_an_unconditional_model_is_not_told_what_a_log_probability_names() -> None:
    """It refuses y; the classifier's gradient is the conditional score less the unconditional one."""
    x, t = states(VP)
    judge = classifier(VP.process)

    def log_prob(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return judge(x, t).log_softmax(1).gather(1, y[:, None])[:, 0]

    model = LogProbGuidance(unconditional(VP.process), log_prob, conditional=False)
    assert_scores(model(x, t, y=Y).score, mode_score(VP, x, t, Y))
    with pytest.raises(ValueError, match="no classes was given class labels y"):
        LogProbGuidance(unconditional(VP.process), log_prob)(x, t, y=Y)


def test_functions_get_the_conditioning_that_they_name() -> None:
    x, t = states(VP)
    seen: list[dict[str, Tensor]] = []

    def named(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        seen.append({"y": y})
        return x.sum(1)

    def all_of_it(x: Tensor, t: Tensor, **cond: Tensor) -> Tensor:
        seen.append(cond)
        return x.sum(1)

    for function in (named, all_of_it):
        LogProbGuidance(conditional(VP.process), function)(x, t, y=Y)
    assert [list(s) for s in seen] == [["y"], ["y"]]


def test_gradients_are_differentiable_through_attention() -> None:
    """The second derivative of attention with one key is that of its value: fused kernels have none.

    With a single position softmax is 1 and f(x) = sum sin(x): f'' = -sin(x).
    """

    def f(x: Tensor) -> Tensor:
        q = x[:, None, None, :]
        return F.scaled_dot_product_attention(q, q, q.sin()).flatten(1).sum(1)

    x = torch.tensor([[0.3, -1.2], [0.7, 2.0]], requires_grad=True)
    found = gradient(f, x)
    torch.testing.assert_close(found, x.cos())
    torch.testing.assert_close(torch.autograd.grad(found.sum(), x)[0], -x.sin())


class Wiener(SDE):
    """dx = dw: the base class's contract and no marginal."""

    def sde(self, x: Tensor, t: Tensor) -> Coefficients:
        return Coefficients(torch.zeros_like(x), torch.ones_like(t))

    def prior_sampling(self, shape: Any, noise: Noise) -> Tensor:
        return noise.normal(shape)

    def prior_logp(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().flatten(1).sum(1)


def test_a_process_without_a_marginal_is_guided_by_its_score() -> None:
    class Zero(Network):
        def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
            return torch.zeros_like(x)

    process = Wiener()
    model = NoiseModel(Zero(), process, Time(process), "score")
    x, t = torch.ones(2, 3), torch.full((2,), 0.5, dtype=torch.float64)
    assert torch.equal(LogProbGuidance(model, lambda x, t: x.sum(1), 2.0)(x, t).score, 2 * x)
    with pytest.raises(ValueError, match="Wiener has no Gaussian marginal"):
        LogProbGuidance(model, lambda x, t: x.sum(1), interval=(0.1, 1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ClassifierFreeGuidance(conditional(VP.process), NULL, float("nan")),
            "a finite number, got nan",
        ),
        (lambda: ClassifierFreeGuidance(conditional(VP.process), NULL, rescale=1.5), r"in \[0, 1\], got 1.5"),
        (lambda: ClassifierFreeGuidance(conditional(VP.process), NULL, interval=(2, 1)), "0 <= low < high"),
        (lambda: ClassifierFreeGuidance(conditional(VP.process), NULL, interval=(2,)), r"\(low, high\)"),
        (lambda: ClassifierFreeGuidance(conditional(VP.process), NULL)(*states(VP)), "needs labels"),
        (
            lambda: ClassifierGuidance(unconditional(VP.process), classifier(VP.process))(*states(VP)),
            "needs labels",
        ),
        (
            lambda: ClassifierGuidance(unconditional(VP.process), classifier(VP.process), shift="x"),  # type: ignore[arg-type]
            "shifts the score or the mean; got 'x'",
        ),
        (
            lambda: LogProbGuidance(unconditional(VP.process), lambda x, t: x.sum())(*states(VP)),
            r"one number a sample, of shape \(4,\); the function gave \(\)",
        ),
        (lambda: mixture(VP.process, 5), "a mixture's classes are its 3 modes"),
        (lambda: conditional(VP.process)(*states(VP)), "4 classes was given no labels"),
    ],
)
def test_wrong_uses_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
