"""Weights that training scripts wrapped, halved or split: they load as those that are bare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from models import register_model
from models.checkpoints.diffusers import describe_folder
from models.checkpoints.loader import load_weights
from tests.fixtures.score_sde_files import network_of, payload_of, save
from tests.fixtures.weights import Fixture
from tests.models.test_guided_diffusion_checkpoint import reference

State = dict[str, torch.Tensor]


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: weight for name, weight in state.items()}


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "module.": lambda s: prefixed(s, "module."),
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s},
    "net": lambda s: {"net": prefixed(s, "module.")},
    "params_ema": lambda s: {"params": zeroed(s), "params_ema": s},
    "ema": lambda s: {"model": zeroed(s), "ema": s, "step": 4},
    "lightning": lambda s: {
        "state_dict": {**prefixed(s, "model."), "loss.weight": torch.ones(1)},
        "epoch": 1,
    },
    "compiled": lambda s: prefixed(s, "module._orig_mod."),
    "list": lambda s: [s],
    "tuple of a dict": lambda s: ({"state_dict": s},),
}


def zeroed(state: State) -> State:
    return {name: torch.zeros_like(weight) for name, weight in state.items()}


def first_parameters(network: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_guided_diffusion_within_wrappings(wrapping: str, tmp_path: Path) -> None:
    """Every weight is that of the bare file, and what lay around it is reported."""
    found = reference("improved_diffusion/superres")
    bare, wrapped = found.network, reference("improved_diffusion/superres").network
    load_weights(bare, save(found.fixture.weights, tmp_path))
    report = load_weights(wrapped, save(WRAPPINGS[wrapping](found.fixture.weights), tmp_path))
    assert report.family == "guided_diffusion"
    assert all(map(torch.equal, first_parameters(bare), first_parameters(wrapped)))
    if wrapping == "lightning":
        assert [entry.split(":")[0] for entry in report.ignored] == ["epoch", "loss.weight"]


def test_raw_weights_beside_averaged_ones(tmp_path: Path) -> None:
    found = reference("improved_diffusion/superres")
    load_weights(
        found.network,
        save({"ema": zeroed(found.fixture.weights), "model": found.fixture.weights}, tmp_path),
        ema=False,
    )
    assert any(p.abs().max() > 0 for p in found.network.parameters())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_bare_state_dict_of_score_sde(prefix: str, tmp_path: Path) -> None:
    fixture = Fixture("score_sde/ddpm.npz")
    network = network_of(fixture)
    load_weights(network, save(prefixed(fixture.weights, prefix), tmp_path))
    first = network.get_parameter("time_embedding.dense_in.weight")
    assert torch.equal(first, fixture.weights["all_modules.0.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_into_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    fixture = Fixture("score_sde/ddpm.npz")
    network = network_of(fixture)
    load_weights(network, save({name: w.to(dtype) for name, w in fixture.weights.items()}, tmp_path))
    first = network.get_parameter("time_embedding.dense_in.weight")
    assert first.dtype == torch.float32
    assert torch.equal(first, fixture.weights["all_modules.0.weight"].to(dtype).float())


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    fixture = Fixture("score_sde/ddpm.npz")
    weights = {**fixture.weights, "all_modules.0.weight": "text"}
    with pytest.raises(
        ValueError, match=r"1 weights that are no floating-point.*all_modules\.0\.weight \(str\)"
    ):
        load_weights(network_of(fixture), save(weights, tmp_path))


def sharded(folder: Path, *, safe: bool) -> Any:
    torch.manual_seed(0)
    unet: Any = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    unet.eval()
    unet.save_pretrained(folder, max_shard_size="300KB", safe_serialization=safe)
    return unet


@pytest.mark.parametrize("safe", [True, False])
def test_a_folder_of_several_shards(safe: bool, tmp_path: Path) -> None:
    """diffusers' own output is the oracle."""
    unet = sharded(tmp_path, safe=safe)
    assert len(list(tmp_path.glob("*-of-*"))) > 1
    architecture = describe_folder(tmp_path).architecture
    network = register_model[architecture.name](**architecture.arguments).eval()
    load_weights(network, tmp_path)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([3.0, 500.0])
    with torch.no_grad():
        torch.testing.assert_close(network(x, t), unet(x, t).sample, rtol=1e-5, atol=1e-5)


def test_shards_that_are_elsewhere_or_missing(tmp_path: Path) -> None:
    sharded(tmp_path, safe=True)
    architecture = describe_folder(tmp_path).architecture
    network = register_model[architecture.name](**architecture.arguments)
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    content = json.loads(index.read_text())
    name, shard = next(iter(content["weight_map"].items()))
    index.write_text(json.dumps({"weight_map": {**content["weight_map"], name: "../other.safetensors"}}))
    with pytest.raises(ValueError, match=r"names '\.\./other\.safetensors', which is not a file beside it"):
        load_weights(network, tmp_path)
    index.write_text(json.dumps({"weight_map": {**content["weight_map"], "another": shard}}))
    with pytest.raises(ValueError, match=r"lack 1 of its weights, first another"):
        load_weights(network, tmp_path)
    index.write_text(json.dumps(content))
    (tmp_path / shard).unlink()
    with pytest.raises(ValueError, match=rf"lacks {shard}, which .*index\.json lists"):
        load_weights(network, tmp_path)


@pytest.mark.parametrize("entry", [3, "text", [1], None, {"module.all_modules.0.weight": 1}])
def test_entries_of_another_kind_are_an_error_of_the_file(entry: Any, tmp_path: Path) -> None:
    fixture = Fixture("score_sde/ddpm.npz")
    payload = payload_of(fixture)
    payload["model"][3] = entry
    with pytest.raises(ValueError, match=r"checkpoint_7\.pth.*(of another kind|no floating-point)"):
        load_weights(network_of(fixture), save(payload, tmp_path))
