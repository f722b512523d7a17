"""One evaluation, every view of it; what networks are told about time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.base import Network
from models.prediction.noise_model import NoiseModel, Output, Prediction
from models.prediction.time_encoding import ChainIndex, DescendingLevelOfTime, LevelOfTime, NoiseLevel, Time
from sde_lib import DiscreteDiffusion, Noise
from tests.oracles import CASES, CHAINS, SDES, Case

VIEWS: tuple[Output, ...] = ("eps", "x0", "score", "v")


class Constant(Network):
    """Outputs what it was given, and remembers its labels."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.labels: list[Tensor] = []

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        self.labels.append(labels)
        return self.output


def times(case: Case) -> Tensor:
    """From the least noisy trained level to the prior."""
    fractions = torch.tensor([1e-5, 1e-3, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)
    if isinstance(case.process, DiscreteDiffusion):
        return (fractions * case.oracle.start).round().long()
    return fractions.clamp(max=case.process.signal_start)  # beyond it eps says nothing of the data


@pytest.mark.parametrize("kind", VIEWS)
def test_every_view_follows_from_every_output(case: Case, kind: Output) -> None:
    """From known x0 and eps, x_t = alpha x0 + sigma eps; all views to 1e-10 in float64.

    Relative to the scale at which a view is defined by what the network gave: a division by alpha or sigma
    multiplies rounding (1e-16 of x_t) by as much. v = (alpha eps - sigma x0) / sqrt(alpha^2 + sigma^2).
    """
    t = times(case)
    alpha = torch.tensor([case.oracle.alpha(v) for v in t.tolist()], dtype=torch.float64)[:, None]
    sigma = torch.tensor([case.oracle.sigma(v) for v in t.tolist()], dtype=torch.float64)[:, None]
    noise = Noise(0, range(len(t)), dtype=torch.float64)
    x0, eps = noise.normal((len(t), 20)), noise.normal((len(t), 20))
    x = alpha * x0 + sigma * eps
    v = (alpha * eps - sigma * x0) / (alpha**2 + sigma**2).sqrt()
    views = {"eps": eps, "x0": x0, "score": -eps / sigma, "v": v}
    prediction = NoiseModel(Constant(views[kind]), case.process, Time(case.process), kind)(x, t)
    for name in VIEWS:
        value, expected = getattr(prediction, name), views[name]
        scale = expected.abs().amax(1, keepdim=True) * (1 + 1 / sigma + 1 / alpha)
        assert ((value - expected).abs() <= 1e-10 * scale).all(), name


@pytest.mark.parametrize("process", ["vp", "ddpm"])
def test_v_is_salimans_and_hos_for_variance_preserving_processes(process: str) -> None:
    """alpha eps - sigma x0, with no division."""
    case = CASES[process]
    t = times(case)[3:4]
    a, s = case.oracle.alpha(t.item()), case.oracle.sigma(t.item())
    x0, eps = torch.tensor([[0.7]], dtype=torch.float64), torch.tensor([[-1.1]], dtype=torch.float64)
    prediction = NoiseModel(Constant(eps), case.process, Time(case.process), "eps")(a * x0 + s * eps, t)
    assert prediction.v.item() == pytest.approx(a * -1.1 - s * 0.7, rel=1e-10)


def test_views_need_a_gaussian_marginal() -> None:
    prediction = Prediction(torch.zeros(1, 2), None, None, torch.ones(1, 2), "score")
    assert torch.equal(prediction.score, torch.ones(1, 2))
    for view in ("eps", "x0", "v"):
        with pytest.raises(ValueError, match="need a GaussianSDE or a chain"):
            getattr(prediction, view)


def test_unknown_output_is_refused() -> None:
    with pytest.raises(ValueError, match=r"outputs one of eps, x0, score, v.*; got 'noise'"):
        NoiseModel(Constant(torch.zeros(1)), CASES["vp"].process, Time(CASES["vp"].process), "noise")  # type: ignore[arg-type]


def test_evaluations_are_counted_through_given_conditioning() -> None:
    model = NoiseModel(Constant(torch.zeros(2, 3)), CASES["vp"].process, Time(CASES["vp"].process), "eps")
    given = model.given(y=torch.zeros(2))
    x, t = torch.zeros(2, 3), torch.full((2,), 0.5, dtype=torch.float64)
    model(x, t)
    given(x, t)
    assert model.nfe == given.nfe == 2
    assert model.given() is model


def test_labels_of_continuous_vp_are_999_t() -> None:
    labels = Time(CASES["vp"].process, scale=999).labels(torch.tensor([0.001, 1.0]))
    assert labels.tolist() == pytest.approx([0.999, 999])


@pytest.mark.parametrize("process", SDES)
def test_noise_level_labels_are_sigma(process: str) -> None:
    """The network takes the logarithm itself."""
    case = CASES[process]
    labels = NoiseLevel(case.process).labels(torch.tensor([0.3], dtype=torch.float64))  # type: ignore[arg-type]
    assert labels.item() == pytest.approx(case.oracle.sigma(0.3), rel=1e-12)


def test_discrete_vp_labels_are_unrounded_and_levels_truncated() -> None:
    """t = 0.5 is label 499.5 and level 499 of 1000."""
    chain: DiscreteDiffusion = CASES["ddpm"].process  # type: ignore[assignment]
    encoding, t = LevelOfTime(chain), torch.tensor([0.5], dtype=torch.float64)
    assert encoding.labels(t).item() == pytest.approx(499.5, rel=1e-12)
    assert encoding.marginal(t).sigma.item() == pytest.approx(CASES["ddpm"].oracle.sigma(499), rel=1e-9)


def test_discrete_ve_labels_count_down() -> None:
    """round((T - t)(N - 1)): the prior is 0, clean data 999; sigma is the SDE's at the time itself."""
    encoding = DescendingLevelOfTime(CASES["ve"].process, 1000)  # type: ignore[arg-type]
    t = torch.tensor([1.0, 0.75, 0.0], dtype=torch.float64)
    assert encoding.labels(t).tolist() == [0, 250, 999]
    assert encoding.marginal(t[1:2]).sigma.item() == pytest.approx(CASES["ve"].oracle.sigma(0.75), rel=1e-12)


@pytest.mark.parametrize("process", CHAINS)
def test_respaced_chain_is_labelled_as_it_was_trained(process: str) -> None:
    """The kept levels' own indices; ADM's rescaling multiplies them."""
    chain: DiscreteDiffusion = CASES[process].process  # type: ignore[assignment]
    short, t = chain.respace([10, 400, 999]), torch.tensor([0, 1, 2])
    assert ChainIndex(short).labels(t).tolist() == [10, 400, 999]
    assert ChainIndex(short, scale=0.25).labels(t).tolist() == [2.5, 100, 249.75]
    assert ChainIndex(chain, descending=True).labels(torch.tensor([0, 999])).tolist() == [999, 0]


def test_descending_labels_of_a_respaced_chain_count_from_the_trained_number_of_levels() -> None:
    """Level 400 of 1000 was trained with label 599, whatever the sampler keeps."""
    chain: DiscreteDiffusion = CASES["smld"].process  # type: ignore[assignment]
    labels = ChainIndex(chain.respace([10, 400, 999]), descending=True).labels(torch.tensor([0, 1, 2]))
    assert labels.tolist() == [989, 599, 0]


def test_labels_reach_the_network_in_the_states_precision() -> None:
    network = Constant(torch.zeros(1, 1))
    NoiseModel(network, CASES["vp"].process, Time(CASES["vp"].process, 999), "eps")(
        torch.zeros(1, 1), torch.tensor([math.pi / 10], dtype=torch.float64)
    )
    assert network.labels[0].dtype == torch.float32
    assert network.labels[0].item() == pytest.approx(99.9 * math.pi, rel=1e-6)
