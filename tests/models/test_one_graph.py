"""No network breaks the compiler's graph, and no model is traced again at another time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import register_model
from models.base import Network
from models.exact.mixtures import GaussianScore
from models.networks.edm import EDMPreconditioned
from models.prediction.conventions import Convention, convention
from sde_lib import EDM, VESDE, VPSDE, DiscreteDiffusion, Noise, Process, subVPSDE
from sde_lib.chain_sde import InterpolatedChain
from sde_lib.discrete import ddpm_chain
from sde_lib.schedules import geometric_sigmas
from tests.graphs import Traced, quick_and_slow

UNET: dict[str, Any] = {
    "image_size": 8, "channels": 32, "channel_mult": (1, 1), "num_res_blocks": 1, "attention_resolutions": (4,),
}  # fmt: skip
REFINENET: dict[str, Any] = {"channels": 4, "num_scales": 20}
DIT: dict[str, Any] = {"in_channels": 3, "image_size": 8, "channels": 16, "depth": 2, "num_heads": 2}
EXACT: dict[str, Any] = {"process": VPSDE()}
NETWORKS: dict[str, dict[str, Any]] = {
    "adm": {**UNET, "num_classes": 3},
    "adm_superres": UNET,
    "adm_encoder": {**UNET, "out_channels": 4, "pool": "adaptive", "num_head_channels": 8},
    "ddpm": UNET,
    "ddpm_1d": {**UNET, "image_size": (8,), "in_channels": 3},
    "ddpmpp": UNET,
    "dit": {**DIT, "num_classes": 3},
    "edm2": {**UNET, "head_channels": 16, "num_classes": 2},
    "edm_adm": {**UNET, "num_head_channels": 16, "num_classes": 2},
    "edm_ddpmpp": {**UNET, "num_classes": 2},
    "edm_ncsnpp": UNET,
    "mlp": {"in_channels": 3},
    "ncsnpp": {**UNET, "progressive": "output_skip", "progressive_input": "residual"},
    "ncsn": REFINENET,
    "ncsnv2_64": REFINENET,
    "ncsnv2_128": REFINENET,
    "ncsnv2_256": REFINENET,
    "gaussian": EXACT,
    "gaussian_mixture": {**EXACT, "means": [[0.5], [-0.5]], "stds": [0.2, 0.3]},
    "correlated_gaussian": {**EXACT, "covariance": (torch.eye(192) + 0.1).tolist()},
}
CONDITIONING: dict[str, dict[str, Tensor]] = {
    "adm": {"y": torch.tensor([2, 0])},
    "adm_superres": {"low_res": torch.ones(2, 3, 4, 4)},
    "dit": {"y": torch.tensor([2, 0])},
    "edm2": {"y": torch.tensor([2, 0])},
    "edm_adm": {"y": torch.tensor([2, 0])},
    "edm_ddpmpp": {"y": torch.tensor([2, 0])},
}
SIZE = {"ncsnv2_256": 16}
"""Of images, where 8 pixels leave the smallest stage with one, which has no variance."""

AXES = {"ddpm_1d": 1, "mlp": 0}
"""Of samples, beside their channels."""


def made(name: str) -> Network:
    """With weights that are not zero: a new network outputs zeros whatever its layers do."""
    network = register_model[name](**NETWORKS[name])
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    return network.eval()


def image(size: int, seed: int = 1, axes: int = 2) -> Tensor:
    return torch.randn(2, 3, *[size] * axes, generator=torch.Generator().manual_seed(seed))


def test_every_network_is_here() -> None:
    assert set(NETWORKS) == set(register_model)


def check(network: nn.Module, size: int = 8, axes: int = 2, **cond: Tensor) -> None:
    """One graph serves two batches and gives the same bits, and its gradient is the network's."""
    traced = Traced()
    compiled = traced(network)
    with torch.no_grad():
        for seed, labels in ((1, [3.0, 11.0]), (2, [0.5, 7.25])):
            given = image(size, seed, axes), torch.tensor(labels)
            assert torch.equal(compiled(*given, **cond), network(*given, **cond))
    assert traced.graphs == 1


@pytest.mark.parametrize("name", quick_and_slow(NETWORKS, "ddpm", "gaussian"))
def test_a_network_is_one_graph(name: str) -> None:
    check(made(name), SIZE.get(name, 8), AXES.get(name, 2), **CONDITIONING.get(name, {}))


@pytest.mark.slow
def test_a_preconditioned_network_is_one_graph() -> None:
    check(EDMPreconditioned(made("ddpm")))


CONVENTIONS: dict[str, Convention] = {
    "vp": convention(VPSDE()),
    "vp, trained on levels": convention(VPSDE(), continuous=False),
    "subvp": convention(subVPSDE()),
    "ve": convention(VESDE()),
    "ve, trained on levels": convention(VESDE(), continuous=False),
    "edm": convention(EDM()),
    "ddpm": convention(ddpm_chain(N=20)),
    "smld": convention(DiscreteDiffusion.smld(geometric_sigmas(20))),
    "interpolated": convention(InterpolatedChain(ddpm_chain(N=20))),
}


class Linear(nn.Module):
    """x times a number and the label times another: both reach the output."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return 0.3 * x + 0.001 * labels[:, None]


@pytest.mark.parametrize("name", quick_and_slow(CONVENTIONS, "vp", "interpolated"))
def test_a_model_is_one_graph_at_every_time(name: str) -> None:
    """Labels, network and noise level: the evaluation without its count, and with it where counts begin anew.

    Every view of eight evaluations at eight times has the same bits; the count goes on as if nothing were compiled.
    """
    model = CONVENTIONS[name].model(Linear())
    process: Process = model.process
    first, last = process.trained
    times = process.time(torch.linspace(first, last, 10, dtype=torch.float64)[1:-1])
    x = Noise(0, range(2)).normal((2, 3))
    for call in (model.evaluate, model):
        traced = Traced()
        compiled = traced(call)
        before = model.nfe
        for t in times[:, None].expand(-1, 2):
            with model.counting_anew():
                found = compiled(x, t)
            expected = model.evaluate(x, t)
            for view in ("eps", "x0", "score", "v"):
                assert torch.equal(getattr(found, view), getattr(expected, view)), view
        assert traced.graphs == 1
        assert model.nfe - before == (8 if call is model else 0)


def test_a_count_of_evaluations_goes_on_from_where_it_was() -> None:
    model = convention(VPSDE()).model(GaussianScore(process=VPSDE()))
    x, t = torch.zeros(1, 2), torch.tensor([0.5], dtype=torch.float64)
    model(x, t)
    with model.given(y=t).counting_anew():
        assert model.nfe == 0
        model._evaluations += 2
    assert model.nfe == 3
    with pytest.raises(AttributeError), model.counting_anew():
        model(None, t)  # type: ignore[arg-type]
    assert model.nfe == 4
