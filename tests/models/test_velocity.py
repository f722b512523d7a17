"""Networks that output the velocity of flow matching, in either direction of time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses import OutputLoss, UniformTimes
from models import NoiseModel, convention
from models.prediction.noise_model import Output
from models.prediction.time_encoding import NoiseLevel, Time
from sde_lib import Flow, Noise
from sde_lib.discrete import ddpm_chain
from tests.oracles import CASES

X0, EPS = (torch.tensor([v], dtype=torch.float64) for v in ([0.7, -1.2, 0.1], [-0.4, 2.0, 0.3]))


class Says(nn.Module):
    """A network of one answer, which remembers its labels."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        self.labels = labels
        return self.answer.expand_as(x)


@pytest.mark.parametrize(("output", "sign"), [("velocity", 1), ("reversed_velocity", -1)])
@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "edm", "flow", "flow_cosine"])
def test_every_view_follows_from_the_velocity(name: str, output: Output, sign: int) -> None:
    """u = (x_{t+h} - x_{t-h}) / 2h of the oracle's path, to the error of the difference, h^2 times its curvature."""
    process, o, t, h = CASES[name].process, CASES[name].oracle, 0.4, 1e-6
    along = [o.alpha(at) * X0 + o.sigma(at) * EPS for at in (t - h, t, t + h)]
    velocity = (along[2] - along[0]) / (2 * h)
    model = NoiseModel(Says(sign * velocity), process, Time(process), output)
    found = model(along[1], torch.tensor([t], dtype=torch.float64))
    torch.testing.assert_close(found.x0, X0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.eps, EPS, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.score, -EPS / o.sigma(t), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("path", ["straight", "cosine"])
def test_both_ends_have_every_view(path: Any) -> None:
    """At t = 1 x is eps and says nothing of x0; u = alpha' x0 + sigma' eps, (-1, 1) or (-pi/2, 0), does."""
    process = Flow(path=path)
    velocity = EPS - X0 if path == "straight" else -torch.pi / 2 * X0
    model = convention(process).model(Says(velocity))
    found = model(EPS, torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(found.x0, X0, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.eps, EPS, rtol=1e-12, atol=1e-12)
    assert model.at_pure_noise


@pytest.mark.parametrize(("time_from", "label"), [("data", 250.0), ("noise", 750.0)])
def test_either_convention_of_time_is_read(time_from: Any, label: float) -> None:
    """Lipman et al.'s network is told 1 - t and points to the data: the same prediction."""
    velocity = (EPS - X0) * (1 if time_from == "data" else -1)
    model = convention(Flow(time_from=time_from, label_scale=1000.0)).model(Says(velocity))
    found = model(0.75 * X0 + 0.25 * EPS, torch.tensor([0.25], dtype=torch.float64))
    torch.testing.assert_close(found.x0, X0, rtol=1e-12, atol=1e-12)
    assert model.network.labels.tolist() == [label]  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("output", ["velocity", "reversed_velocity"])
def test_the_loss_is_the_squared_error_of_the_velocity(output: Output) -> None:
    """Conditional flow matching (Lipman et al. 2023, eq. 23): |u_hat - (eps - x0)|^2, whichever way it points."""
    process, x0 = Flow(), X0.expand(5, 3)
    answer = torch.tensor([[0.2, -0.3, 1.0]], dtype=torch.float64)
    model = NoiseModel(Says(answer), process, Time(process), output)
    found = OutputLoss(UniformTimes(), output)(model, x0, Noise(3, range(5), dtype=torch.float64)).values
    noise = Noise(3, range(5), dtype=torch.float64)
    UniformTimes().sample(process, noise)
    velocity = answer if output == "velocity" else -answer
    expected = (velocity - (noise.normal((5, 3)) - x0)).square().mean(1)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_the_noise_level_may_be_the_label() -> None:
    process = Flow()
    model = NoiseModel(Says(EPS - X0), process, NoiseLevel(process), "velocity")
    found = model(0.75 * X0 + 0.25 * EPS, torch.tensor([0.25], dtype=torch.float64))
    torch.testing.assert_close(found.eps, EPS, rtol=1e-12, atol=1e-12)


def test_a_chain_has_no_velocity() -> None:
    chain = ddpm_chain()
    with pytest.raises(
        ValueError, match=r"outputs the velocity needs an SDE .* such as training\.sde='flow'"
    ):
        convention(chain).training.__class__(chain, convention(chain).training.time, "velocity").model(
            nn.Identity()
        )


def test_flow_has_no_discrete_training() -> None:
    with pytest.raises(ValueError, match=r"flow has no discrete chain: set training\.continuous=True"):
        convention("flow", Flow(), continuous=False)
