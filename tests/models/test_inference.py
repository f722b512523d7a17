"""Evaluations of which no gradient is asked: the same numbers, and nothing that a later gradient could stumble over."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from models.base import Network
from models.networks.edm import EDMPreconditioned
from models.networks.mlp import MLP
from models.prediction.conventions import convention
from models.prediction.inference import evaluated
from samplers import DDIM, LogProbGuidance, PCSampler
from sde_lib import EDM
from tests.graphs import Traced
from tests.models.test_one_graph import AXES, CONDITIONING, NETWORKS, SIZE, image, made

LABELS = torch.tensor([3.0, 11.0])
LEARNED = [name for name in NETWORKS if made(name).has_weights]
CLOSE = 1e-5
"""What a fast path in float32 may differ by from the plain one, in the output's norm."""


def inputs(name: str) -> Tensor:
    return image(SIZE.get(name, 8), axes=AXES.get(name, 2))


def gradients(network: nn.Module, x: Tensor, cond: dict[str, Tensor]) -> list[Tensor | None]:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return list(torch.autograd.grad(network(x, LABELS, **cond).sum(), weights, allow_unused=True))


@pytest.mark.parametrize("name", LEARNED)
def test_every_network_of_ours_keeps_nothing(name: str) -> None:
    """Bit for bit what it gives outside of inference mode, an ordinary tensor; and it can be trained as before."""
    network, x, cond = made(name), inputs(name), CONDITIONING.get(name, {})
    assert network.keeps_nothing
    wanted = gradients(deepcopy(network), x, cond)
    with torch.no_grad():
        plain, found = network(x, LABELS, **cond), evaluated(network, x, LABELS, **cond)
    assert torch.equal(found, plain)
    assert not found.is_inference()
    for ours, theirs in zip(gradients(network, x, cond), wanted, strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


@pytest.mark.parametrize("name", [name for name in LEARNED if AXES.get(name, 2) == 2])
def test_channels_that_lie_last_change_rounding_alone(name: str) -> None:
    """The layout of the program's image networks on a CPU, in inference mode, beside a plain call in torch's layout."""
    network, x, cond = made(name), inputs(name), CONDITIONING.get(name, {})
    with torch.no_grad():
        plain = network(x, LABELS, **cond)
        fast = evaluated(network.to(memory_format=torch.channels_last), x, LABELS, **cond)
    assert plain.norm() > 0
    assert (fast - plain).norm() <= CLOSE * plain.norm()


class Keeping(Network):
    """x times a table that is made at the first evaluation, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.table: Tensor | None = None

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        if self.table is None:
            self.table = torch.full_like(x, 3.0)
        return self.weight * (x * self.table)


def test_a_network_that_keeps_a_tensor_can_be_trained_after_its_samples() -> None:
    """d sum(w 3 x) / dx = 3 w, after an evaluation without gradients; had it said that it keeps nothing, none."""
    for says in (False, True):
        network, x = Keeping(), torch.ones(2, 3)
        network.keeps_nothing = says
        with torch.no_grad():
            assert torch.equal(evaluated(network, x, LABELS), 6 * x)
        given = x.clone().requires_grad_()
        if says:
            with pytest.raises(RuntimeError, match="Inference tensors"):
                network(given, LABELS)
        else:
            (found,) = torch.autograd.grad(network(given, LABELS).sum(), given)
            assert torch.equal(found, torch.full_like(x, 6.0))


class Cube(Network):
    """x^3."""

    keeps_nothing = True

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return x**3


def test_who_turns_gradients_on_has_them() -> None:
    x = torch.tensor([[2.0], [3.0]])
    with torch.no_grad(), torch.enable_grad():
        given = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(evaluated(Cube(), given, LABELS).sum(), given)
    assert torch.equal(found, 3 * x**2)


@pytest.mark.filterwarnings("ignore:.*jit.script.*:FutureWarning")  # torch's own, of its forward mode
def test_tangents_pass_as_they_do_without_gradients() -> None:
    x, v = torch.tensor([[2.0], [3.0]]), torch.tensor([[1.0], [0.5]])
    with torch.no_grad():
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, v)
            assert torch.equal(forward_ad.unpack_dual(evaluated(Cube(), dual, LABELS)).tangent, 3 * x**2 * v)
        _, tangent = torch.func.jvp(lambda at: evaluated(Cube(), at, LABELS), (x,), (v,))
    assert torch.equal(tangent, 3 * x**2 * v)


def test_it_is_one_graph_to_the_compiler() -> None:
    network, traced = made("mlp"), Traced()
    with torch.no_grad():
        given = image(8, axes=0), LABELS
        assert torch.equal(traced(evaluated)(network, *given), network(*given))
    assert traced.graphs == 1


def test_guidance_differentiates_what_was_evaluated_without_gradients_in_the_same_run() -> None:
    """A network's tables of the run are made at its first evaluation, which has no gradient; the second, at the same
    time, has one. Beside it a network that is never evaluated in inference mode."""
    results = []
    for says in (True, False):
        torch.manual_seed(0)
        network = EDMPreconditioned(MLP(in_channels=3, channels=16, num_res_blocks=1))
        network.keeps_nothing = says
        nn.init.normal_(network.network.dense_out.weight, std=0.1)  # type: ignore[arg-type]
        model = convention(EDM()).model(network)
        guided = LogProbGuidance(model, lambda x, t, by=model: -by(x, t).x0.square().sum(1), scale=0.1)
        results.append(PCSampler.of(guided, DDIM(), num_steps=4).sample((2, 3), seed=1).x)
    assert torch.equal(*results)
    assert bool(results[0].isfinite().all())
