"""The way back: our networks as the ancestor's training checkpoints, bit for bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from models.base import Network, register_model
from models.checkpoints.loader import load_weights
from models.checkpoints.score_sde import export, optimizer_state
from tests.fixtures.score_sde_files import network_of, payload_of, save
from tests.fixtures.weights import Fixture

FIXTURES = ["ddpm", "ncsnpp_ve_continuous", "ncsnpp_ve_output_skip", "ncsnpp_input_skip_cat"]
FROZEN = re.compile(r"all_modules\.\d+\.W")


@pytest.mark.parametrize("name", FIXTURES)
def test_ancestor_to_ours_and_back(name: str, tmp_path: Path) -> None:
    """A training file, loaded twice (raw and averaged) and exported, is itself: keys, order and bits."""
    fixture = Fixture(f"score_sde/{name}.npz")
    payload = payload_of(fixture)
    path = save(payload, tmp_path)
    raw, averaged = network_of(fixture), network_of(fixture)
    load_weights(raw, path, ema=False)
    load_weights(averaged, path)
    written = export(
        raw,
        dict(averaged.named_parameters()),
        sigmas=payload["model"]["module.sigmas"],
        step=7,
        decay=0.999,
        num_updates=7,
    )
    assert list(written["model"]) == list(payload["model"])
    assert all(torch.equal(written["model"][key], payload["model"][key]) for key in payload["model"])
    shadows = zip(written["ema"].pop("shadow_params"), payload["ema"].pop("shadow_params"), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in shadows)
    assert written["ema"] == payload["ema"]
    assert written["step"] == payload["step"]


@pytest.mark.parametrize(
    "settings",
    [
        {"progressive": "residual", "progressive_input": "residual"},
        {"resblock": "ddpm", "fir_kernel": None, "progressive": "residual"},
        {"resblock": "ddpm", "fir_kernel": None, "resample_with_conv": False},
        {"conditional": False},
    ],
)
def test_ours_to_ancestor_and_back(settings: dict[str, Any], tmp_path: Path) -> None:
    """Settings that the ancestor cannot run have a place in its format all the same."""
    fixture = Fixture("score_sde/ncsnpp_ve_continuous.npz")
    torch.manual_seed(0)
    ours, again = network_of(fixture, **settings), network_of(fixture, **settings)
    load_weights(again, save(export(ours), tmp_path))
    for (name, weight), other in zip(ours.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other), name


def test_training_continues_as_it_would_have_there(tmp_path: Path) -> None:
    """The oracle is Adam over the ancestor's own list of tensors: two steps there, the file, a third step
    here and there with the same gradients. The Fourier frequencies have a number but no moments."""
    fixture = Fixture("score_sde/ncsnpp_input_skip_cat.npz")
    theirs = {
        name: torch.nn.Parameter(w + 1.0, requires_grad=not FROZEN.fullmatch(name))
        for name, w in fixture.weights.items()
    }
    adam = torch.optim.Adam(theirs.values(), lr=1e-3)
    generator = torch.Generator().manual_seed(5)

    def draw_gradients() -> dict[str, torch.Tensor]:
        return {n: torch.randn(p.shape, generator=generator) for n, p in theirs.items() if p.requires_grad}

    def step_there(gradients: dict[str, torch.Tensor]) -> None:
        for name, gradient in gradients.items():
            theirs[name].grad = gradient
        adam.step()

    step_there(draw_gradients())
    step_there(draw_gradients())
    payload = payload_of(fixture)
    payload["model"] = {f"module.{name}": p.detach().clone() for name, p in theirs.items()}
    payload["optimizer"] = adam.state_dict()
    path = save(payload, tmp_path)

    network = network_of(fixture)
    load_weights(network, path, ema=False)
    optimizer = torch.optim.Adam(network.parameters(), lr=1.0)
    optimizer.load_state_dict(optimizer_state(torch.load(path, weights_only=True), network))
    gradients = draw_gradients()
    step_there(gradients)
    put_gradients(network, gradients, tmp_path)
    optimizer.step()

    expected = network_of(fixture)
    final = payload | {"model": {f"module.{name}": p.detach() for name, p in theirs.items()}}
    load_weights(expected, save(final, tmp_path, "checkpoint_8.pth"), ema=False)
    for (name, weight), other in zip(network.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(weight, other), name

    # And back: the state in the ancestor's numbering is what its own Adam holds after the third step.
    returned = export(network, optimizer=optimizer.state_dict())["optimizer"]
    own = adam.state_dict()
    assert returned["state"].keys() == own["state"].keys()
    for number, held in own["state"].items():
        assert torch.equal(returned["state"][number]["exp_avg"], held["exp_avg"])
        assert torch.equal(returned["state"][number]["exp_avg_sq"], held["exp_avg_sq"])


def put_gradients(network: Network, gradients: dict[str, torch.Tensor], folder: Path) -> None:
    """Carry gradients over by loading them as weights, which turns and places them."""
    weights = {name: p.detach().clone() for name, p in network.named_parameters()}
    frozen = {f"module.{name}": torch.zeros(32) for name in ("all_modules.0.W",)}
    model = frozen | {f"module.{name}": gradient for name, gradient in gradients.items()}
    load_weights(network, save({"model": model}, folder, "gradients.pth"), ema=False)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            parameter.grad = parameter.detach().clone()
        parameter.data = weights[name]


def test_what_cannot_be_exported_is_refused() -> None:
    fixture = Fixture("score_sde/ddpm.npz")
    with pytest.raises(ValueError, match="has neither classes nor attention after every up block"):
        export(network_of(fixture, num_classes=2))
    with pytest.raises(ValueError, match=r"lack 134 parameters, first time_embedding\.dense_in\.weight"):
        export(network_of(fixture), {})
    network = network_of(fixture)
    with pytest.raises(ValueError, match="covers 1 parameters in 1 groups; the network has 134"):
        optimizer_state(payload_of(fixture), network)
    with pytest.raises(ValueError, match="no optimizer state"):
        optimizer_state({}, network)


@pytest.mark.parametrize(
    "settings",
    [
        {"head_channels": 8},
        {"downsample_padding": "both"},
        {"norm_eps": 1e-5},
        {"time_cosines_first": True},
        {"time_endpoint": False},
    ],
)
def test_a_ddpm_that_score_sde_lacks_is_not_exported(settings: dict[str, Any]) -> None:
    """None of these shows in names or shapes: the file would load there, and mean something else."""
    network = register_model["ddpm"](image_size=8, channels=32, channel_mult=(1, 1), **settings)
    with pytest.raises(ValueError, match="score_sde_pytorch's ddpm has one head"):
        export(network)
