"""A loss in units of its expected error: what it learns to expect, and what that does to the gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from losses import DenoisingLoss, OutputLoss, UniformLevels, UniformTimes, uncertain
from losses.uncertainty import OwnLogError
from losses.vlb import BoundLoss
from models.base import Network
from models.networks.edm import EDMPreconditioned
from models.networks.edm2 import EDM2
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import NoiseLevel, Time
from sde_lib import EDM, VPSDE, Flow, Noise, expand
from sde_lib.base import GaussianProcess
from sde_lib.discrete import ddpm_chain
from sde_lib.gaussian import Bins


class Wrong(Network):
    """Predicts the noise in data that are 0 exactly, times 1 - c: the loss is c^2 at every time of it, c = scale s(t)
    with s = 0.1 + t."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        sigma = VPSDE().marginal(labels).sigma
        return x / expand(sigma, x) * (1 - self.scale * expand(0.1 + labels, x))


def expected(scale: float, t: Tensor) -> Tensor:
    """log E[loss] of ``Wrong``, the noise having a mean square of 1."""
    return (scale * (0.1 + t)).square().log().float()


def test_what_is_learned_is_the_logarithm_of_the_expected_loss() -> None:
    """Of losses from 0.1 to 5, found to 0.1 by steps at random times, with noise of 16 values each; and the whole is
    then 1 + E[log loss], its least value."""
    torch.manual_seed(0)
    process, network = VPSDE(), Wrong()
    model = NoiseModel(network, process, Time(process), "eps")
    loss = uncertain(DenoisingLoss(UniformTimes()), model)
    assert loss.learned
    zeros = torch.zeros(256, 16)
    first = loss(model, zeros, Noise(0, range(256)))
    plain = loss.loss(model, zeros, Noise(0, range(256)))
    torch.testing.assert_close(first.values, plain.values)
    optimizer = torch.optim.Adam(loss.learned.parameters(), 0.03)
    for step in range(400):
        loss.learned.constrain()
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - step / 400)
        optimizer.zero_grad()
        loss(model, zeros, Noise(step, range(256))).values.mean().backward()
        optimizer.step()
    t = torch.linspace(0.1, 0.95, 18, dtype=torch.float64)
    found = loss.log_error(process, t).detach()
    wanted = expected(2.0, t)
    assert wanted.min() < -1.8 and wanted.max() > 1.4
    assert float((found - wanted).abs().max()) < 0.1
    value = loss(model, torch.zeros(4000, 16), Noise(99, range(4000))).values.detach().mean().item()
    assert value == pytest.approx(
        1 + 2 * (math.log(2) + 1.1 * math.log(1.1) - 0.1 * math.log(0.1) - 1), abs=0.03
    )


def test_at_the_optimum_every_level_has_the_same_gradient() -> None:
    """d/d scale of scale^2 s^2 eps^2 / (scale^2 s^2) is 2 eps^2 / scale whatever s is; of the loss as it is, s^2 times
    as much. On data of 4,000 values eps^2 is 1 to 0.02 a value."""
    process, network = VPSDE(), Wrong()
    model = NoiseModel(network, process, Time(process), "eps")
    inside = DenoisingLoss(UniformTimes())
    whole = uncertain(inside, model)
    object.__setattr__(whole, "log_error", lambda process, t: expected(2.0, t))
    x0 = torch.zeros(8, 4000)
    for loss, wanted in ((whole, lambda t: torch.ones_like(t)), (inside, lambda t: 4 * (0.1 + t) ** 2)):
        found = loss(model, x0, Noise(0, range(8)))
        gradients = torch.stack(
            [torch.autograd.grad(value, network.scale, retain_graph=True)[0] for value in found.values]
        )
        torch.testing.assert_close(gradients.double(), wanted(found.t), rtol=0.1, atol=0)


def test_a_network_that_has_a_layer_for_it_uses_its_own() -> None:
    """What the loss takes off is exp(-u) of the network at c_noise = ln(sigma) / 4, and u is added."""
    inner = EDM2(
        image_size=8, in_channels=1, channels=8, channel_mult=(1,), num_res_blocks=1, head_channels=8
    )
    assert not inner.error.weight.requires_grad
    network, process = EDMPreconditioned(inner), EDM()
    network.train_log_variance()
    assert inner.error.weight.requires_grad
    model = NoiseModel(network, process, NoiseLevel(process), "x0")
    inside = DenoisingLoss(UniformTimes())
    loss = uncertain(inside, model)
    assert not loss.learned
    x0 = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
    plain, whole = (one(model, x0, Noise(0, range(2))) for one in (inside, loss))
    u = inner.log_variance(plain.t.log().float() / 4)
    assert float(u.detach().abs().min()) > 0.01
    torch.testing.assert_close(whole.values, plain.values * (-u).exp() + u)
    whole.values.mean().backward()
    assert inner.error.weight.grad is not None


@pytest.mark.parametrize("process", [VPSDE(t_min=0.0), Flow(), EDM()])
def test_it_is_finite_at_both_ends(process: GaussianProcess) -> None:
    """Where alpha is 0 it is that of ``signal_start``, and at clean data that of a little noise."""
    own = OwnLogError()
    torch.nn.init.ones_(own.gain)
    ends = process.time([process.clean, process.trained[0], process.signal_start, process.start])
    u = own(process, ends).detach()
    assert bool(u.isfinite().all())
    assert float(u[3]) == pytest.approx(float(u[2]), abs=1e-6)


def test_unit_magnitude_is_brought_back() -> None:
    own = OwnLogError()
    torch.nn.init.constant_(own.layer.weight, 3.0)
    own.constrain()
    assert float(own.layer.weight.detach().square().mean().sqrt()) == pytest.approx(1, abs=1e-3)


def test_only_squared_errors_have_one() -> None:
    chain = ddpm_chain(N=40)
    model = NoiseModel(Wrong(), chain, Time(chain), "eps")
    bound = BoundLoss(UniformLevels(), Bins(4, -1.0, 1.0))
    with pytest.raises(ValueError, match=r"set training\.objective to 'denoising' or 'simple'"):
        uncertain(bound, model)
    uncertain(OutputLoss(UniformLevels()), model)
