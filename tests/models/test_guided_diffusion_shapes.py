"""What a file of guided- or improved-diffusion tells of its network: all but what leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.shared.adm import LEVELS
from models.checkpoints.guided_diffusion_shapes import GUESSED, described_unet
from models.checkpoints.loader import described, load_content
from models.checkpoints.misfits import ArchitectureError
from models.networks.adm import ADM
from run_lib.config.files import load_config_file
from tests.models.test_guided_diffusion_checkpoint import reference
from tests.run_lib.planned import subject

UNETS = (
    "guided_diffusion/unet_adm",
    "guided_diffusion/unet_class_cond",
    "guided_diffusion/unet_learn_sigma_film",
    "guided_diffusion/unet_new_attention_order",
    "guided_diffusion/unet_plain",
    "improved_diffusion/unet_class_cond",
)
PUBLISHED = (
    "adm/imagenet_64",
    "adm/imagenet_128",
    "adm/imagenet_512",
    "adm/lsun_bedroom",
    "adm/improved_cifar10",
    "adm/improved_imagenet_64_uncond",
)


def file_of(network: torch.nn.Module) -> dict[str, Tensor]:
    """A state dict by their names, without numbers."""
    from models.checkpoints.guided_diffusion import GuidedDiffusionFamily

    weights = dict(network.named_parameters())
    return {theirs: weights[ours] for ours, theirs in GuidedDiffusionFamily().key_map(network).items()}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", UNETS)
def test_the_network_that_a_file_describes_takes_its_weights(name: str) -> None:
    """Of the flags it has those that were set, but for what leaves no trace."""
    made = reference(name)
    weights = made.fixture.weights
    found = described_unet(weights, (16, 16)).architecture.arguments
    kwargs = made.fixture.meta["kwargs"]
    assert found["channels"] == kwargs["model_channels"]
    assert found["channel_mult"] == tuple(kwargs["channel_mult"])
    assert found["num_res_blocks"] == kwargs["num_res_blocks"]
    assert found["attention_resolutions"] == tuple(16 // f for f in kwargs["attention_resolutions"])
    assert found["num_classes"] == kwargs.get("num_classes")
    assert found["out_channels"] == kwargs["out_channels"]
    for flag in ("use_scale_shift_norm", "resblock_updown", "conv_resample"):
        assert found[flag] == kwargs.get(flag, flag == "conv_resample"), flag
    assert load_content(ADM(**found), weights, name).used == len(weights)


@pytest.mark.parametrize("name", PUBLISHED)
def test_of_every_kind_of_published_network(name: str) -> None:
    """The configuration's network is found from its names and shapes, the published heads among the rest."""
    config = load_config_file(name)
    size = config.data.image_size
    network = subject(config, weights=False).network
    found = described_unet(file_of(network), (size, size)).architecture.arguments
    with torch.device("meta"):
        again = ADM(**found)
    shapes = [{n: p.shape for n, p in one.named_parameters()} for one in (network, again)]
    assert shapes[0] == shapes[1]
    model = config.model
    assert found["channel_mult"] == tuple(model.ch_mult) == LEVELS[size]
    assert found["attention_resolutions"] == tuple(model.attn_resolutions)
    for ours, flag in (("num_head_channels", "num_head_channels"), ("num_heads", "num_heads")):
        assert found.get(ours) == model.get(flag), flag


def test_one_level_and_one_block() -> None:
    with torch.device("meta"):
        network = ADM(
            image_size=8, channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=()
        )
    found = described_unet(file_of(network), (8, 8)).architecture.arguments
    assert (found["channel_mult"], found["num_res_blocks"], found["attention_resolutions"]) == ((1,), 1, ())


def _without(name: str, weights: dict[str, Any]) -> dict[str, Any]:
    return {n: w for n, w in weights.items() if not n.startswith(name)}


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("guided_diffusion/superres", lambda w: w, "an up-sampler"),
        ("guided_diffusion/encoder_attention", lambda w: w, "a classifier"),
        ("guided_diffusion/unet_adm", lambda w: _without("output_blocks.0.", w), "arranged otherwise"),
        (
            "guided_diffusion/unet_plain",
            lambda w: w | {"input_blocks.0.0.weight": torch.empty(32, 3, 3)},
            "1 axes, and that of an image has two",
        ),
    ],
)
def test_other_files_are_refused(name: str, changed: Any, message: str, tmp_path: Path) -> None:
    weights = changed(dict(reference(name).fixture.weights))
    with pytest.raises(ArchitectureError, match=message):
        described_unet(weights, (16, 16))
    assert described(weights, tmp_path / "a.pt", (16, 16)) is None  # a message without it, and no other error


def test_what_leaves_no_trace_is_said() -> None:
    found = described_unet(dict(reference("guided_diffusion/unet_adm").fixture.weights), (16, 16))
    assert found.guessed == GUESSED
    said = " ".join(found.untold)
    for flag in (
        "data.image_size",
        "num_head_channels=64",
        "use_new_attention_order",
        "beta_schedule",
        "rescale_timesteps",
    ):
        assert flag in said
