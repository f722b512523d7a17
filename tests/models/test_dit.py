"""DiT and SiT against the public programs, from files of their form and back; diffusers' DiT against diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

from models import count_parameters, describe_folder, export_diffusers, register_model
from models.checkpoints.dit import dit_architecture, export
from models.checkpoints.loader import load_weights
from models.checkpoints.misfits import ArchitectureError
from models.networks.dit import DiT
from tests.fixtures.weights import Fixture, relative_error


def settings(arguments: dict[str, Any], *, variances: bool) -> dict[str, Any]:
    """Ours of their constructor's arguments."""
    spare = arguments.get("class_dropout_prob", 0.1) > 0
    channels = arguments["in_channels"]
    return {
        "in_channels": channels,
        "out_channels": 2 * channels if variances else channels,
        "image_size": arguments["input_size"],
        "patch_size": arguments["patch_size"],
        "channels": arguments["hidden_size"],
        "depth": arguments["depth"],
        "num_heads": arguments["num_heads"],
        "num_classes": arguments["num_classes"] + spare,
    }


def file_of(fixture: Fixture, folder: Path) -> Path:
    """The state dict as published, with the positions that it holds."""
    torch.save({**fixture.weights, "pos_embed": fixture["pos_embed"]}, folder / "DiT.pt")
    return folder / "DiT.pt"


@pytest.mark.parametrize("name", ["dit/a", "dit/b", "sit/a", "sit/b"])
def test_computes_the_function_of_the_public_program(name: str, tmp_path: Path) -> None:
    """Two sizes and patches; SiT drops the half of its output that would be variances, and so does the loader."""
    fixture = Fixture(f"{name}.npz")
    arguments = fixture.meta["kwargs"]
    learned = name.startswith("dit") and arguments.get("learn_sigma", True)
    network = DiT(**settings(arguments, variances=learned)).eval()
    report = load_weights(network, file_of(fixture, tmp_path))
    assert report.used == len(fixture.weights)
    with torch.no_grad():
        output = network(fixture["x"], fixture["t"], y=fixture["y"])
    assert relative_error(output, fixture["output"]) < 1e-5


def test_exports_the_file_that_it_read(tmp_path: Path) -> None:
    fixture = Fixture("dit/a.npz")
    network = DiT(**settings(fixture.meta["kwargs"], variances=True))
    load_weights(network, file_of(fixture, tmp_path))
    held = export(network, {})
    assert held.keys() == {*fixture.weights, "pos_embed"}
    assert all(torch.equal(held[name], weight) for name, weight in fixture.weights.items())
    torch.testing.assert_close(held["pos_embed"], fixture["pos_embed"])
    with pytest.raises(ArchitectureError, match="only for images, with time_endpoint=False"):
        export(DiT(channels=8, depth=1, num_heads=1, image_size=4, time_endpoint=True), {})


def test_positions_of_another_size_or_kind_are_refused(tmp_path: Path) -> None:
    fixture = Fixture("dit/a.npz")
    path = file_of(fixture, tmp_path)
    other = DiT(**{**settings(fixture.meta["kwargs"], variances=True), "image_size": 12})
    with pytest.raises(
        ArchitectureError, match="a DiT with 16 patches, of images of 8 pixels, and this one has 36"
    ):
        load_weights(other, path)
    torch.save({**fixture.weights, "pos_embed": fixture["pos_embed"].flip(1)}, path)
    with pytest.raises(ArchitectureError, match="are not the sines and cosines of DiT"):
        load_weights(DiT(**settings(fixture.meta["kwargs"], variances=True)), path)


COUNTS = {
    # channels, depth, heads -> counted in the public program for patches of 2, 4 and 8, its positions left out
    (384, 12, 6): (32_865_056, 32_920_448, 33_142_016),
    (768, 12, 12): (130_315_808, 130_426_496, 130_869_248),
    (1024, 24, 16): (457_840_672, 457_988_224, 458_578_432),
    (1152, 28, 16): (674_834_720, 675_000_704, 675_664_640),
}


def published(size: tuple[int, int, int], patch: int) -> DiT:
    channels, depth, heads = size
    with torch.device("meta"):
        return DiT(in_channels=4, out_channels=8, image_size=32, patch_size=patch, channels=channels, depth=depth,
                   num_heads=heads, num_classes=1001)  # fmt: skip


@pytest.mark.parametrize("size", COUNTS)
def test_parameters_of_every_published_size(size: tuple[int, int, int]) -> None:
    assert tuple(count_parameters(published(size, patch)) for patch in (2, 4, 8)) == COUNTS[size]


def test_the_architecture_is_read_from_the_shapes() -> None:
    network = published((384, 12, 6), 4)
    held = {name: torch.empty(weight.shape, device="meta") for name, weight in export_of(network).items()}
    found = dit_architecture(held, (32, 32))
    assert found.name == "dit"
    assert found.arguments == {
        "in_channels": 4, "out_channels": 8, "image_size": (32, 32), "patch_size": 4, "channels": 384, "depth": 12,
        "num_heads": 6, "expansion": 4, "num_classes": 1001,
    }  # fmt: skip
    held["x_embedder.proj.weight"] = torch.empty(96, 4, 4, 4, device="meta")
    with pytest.raises(
        ArchitectureError, match="a DiT of 96 channels, and does not tell its number of heads"
    ):
        dit_architecture(held, (32, 32))


def export_of(network: DiT) -> dict[str, Tensor]:
    from models.checkpoints.dit import dit_names

    weights = dict(network.named_parameters())
    held: dict[str, Tensor] = {theirs: weights[ours] for ours, theirs in dit_names(network).items()}
    return {**held, "pos_embed": network.positions[None]}


def theirs(**changes: Any) -> Any:
    """diffusers' network, its weights random, the embeddings of all blocks equal as in published folders."""
    torch.manual_seed(0)
    made = diffusers.DiTTransformer2DModel(**{
        "num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 3, "out_channels": 6, "num_layers": 2,
        "sample_size": 8, "num_embeds_ada_norm": 5, **changes,
    }).eval()  # fmt: skip
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    state = made.state_dict()
    shared = {name: state[name.replace("blocks.1.norm1.emb", "blocks.0.norm1.emb")] for name in state}
    made.load_state_dict(shared)
    return made


def test_diffusers_transformer_both_ways(tmp_path: Path) -> None:
    """Its folder, read and run beside it; and what is written of ours, loaded by it."""
    made = theirs()
    made.save_pretrained(tmp_path / "theirs" / "transformer")
    found = describe_folder(tmp_path / "theirs")
    network = register_model[found.architecture.name](**found.architecture.arguments).eval()
    load_weights(network, tmp_path / "theirs")
    x, t, y = torch.randn(2, 3, 8, 8), torch.tensor([3.0, 800.0]), torch.tensor([4, 5])
    with torch.no_grad():
        expected = made(x, timestep=t, class_labels=y).sample
        assert relative_error(network(x, t, y=y), expected) < 1e-5
    export_diffusers(network, tmp_path / "ours", sample_size=8)
    again = diffusers.DiTTransformer2DModel.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        assert relative_error(again(x, timestep=t, class_labels=y).sample, expected) < 1e-6


def test_folders_of_other_transformers_are_refused(tmp_path: Path) -> None:
    made = theirs()
    made.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | {"activation_fn": "geglu", "num_vector_embeds": 7}))
    with pytest.raises(ValueError, match="has activation_fn='geglu', num_vector_embeds=7; our dit has none"):
        describe_folder(tmp_path)
    path.write_text(json.dumps(written))
    settings = dict(describe_folder(tmp_path).architecture.arguments)
    with pytest.raises(ArchitectureError, match="time_endpoint is True in the folder and False here"):
        load_weights(DiT(**(settings | {"time_endpoint": False})), tmp_path)
    with pytest.raises(ArchitectureError, match="only with time_endpoint=True"):
        export_diffusers(DiT(**(settings | {"time_endpoint": False})), tmp_path / "x", sample_size=8)
    nn.init.normal_(made.transformer_blocks[1].norm1.emb.class_embedder.embedding_table.weight)
    made.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="differs from that of the first block; our dit has one embedding"):
        load_weights(DiT(**settings), tmp_path)


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 4, 6), (2, 3, 4, 2, 6)])
def test_other_ranks_and_sizes(shape: tuple[int, ...]) -> None:
    """A patch's values come back to its place: with the perceptrons and gates silent the network is a map of patches.

    A sample of another size than the network's has the positions of its own places.
    """
    rank = len(shape) - 2
    network = DiT(
        in_channels=3, image_size=(2,) * rank, channels=12, depth=1, num_heads=2, patch_size=2
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    for layer in (network.blocks[0].proj, network.blocks[0].dense_out):
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    x, labels = torch.randn(shape, generator=generator), torch.tensor([0.2, 4.0])
    output = network(x, labels)
    assert output.shape == x.shape
    moved = x.clone()
    moved[(slice(None), slice(None), *(slice(0, 2),) * rank)] += 1
    changed = (network(moved, labels) - output).abs().amax((0, 1)) > 0
    first = torch.zeros(shape[2:], dtype=torch.bool)
    first[(slice(0, 2),) * rank] = True
    assert torch.equal(changed, first)


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="does not divide by 2, the side of a patch"):
        DiT(image_size=7)
    with pytest.raises(ValueError, match="16 channels do not divide into 3 attention heads"):
        DiT(image_size=8, channels=16, num_heads=3, depth=1)
    with pytest.raises(
        ValueError, match="18 features of positions do not divide into sines and cosines of 2 axes"
    ):
        DiT(image_size=8, channels=18, num_heads=3, depth=1)
    network = DiT(image_size=8, channels=16, num_heads=2, depth=1, num_classes=3)
    with pytest.raises(ValueError, match=r"class-conditional .3 classes. and got no labels"):
        network(torch.zeros(1, 4, 8, 8), torch.ones(1))
