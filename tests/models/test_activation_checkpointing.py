"""Gradient checkpointing of every U-Net and RefineNet: equal gradients, bit for bit, from less memory."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import register_model
from models.base import Network
from models.blocks.block import Block
from models.blocks.dropout import dropout_from
from sde_lib import Noise

ADM: dict[str, Any] = {
    "image_size": 8, "channels": 8, "channel_mult": (1, 2), "num_res_blocks": 1, "norm_groups": 4,
    "attention_resolutions": (4,), "num_heads": 2, "dropout": 0.3,
}  # fmt: skip
EDM_ADM = {name: value for name, value in ADM.items() if name != "num_heads"}
DDPM: dict[str, Any] = {
    "image_size": 8, "channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1, "attention_resolutions": (4,),
    "dropout": 0.3,
}  # fmt: skip
REFINENET: dict[str, Any] = {"channels": 8, "num_scales": 32}
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "adm": (ADM, {}),
    "adm_superres": (ADM, {"low_res": torch.ones(2, 3, 4, 4)}),
    "adm_encoder": ({**ADM, "out_channels": 4, "pool": "adaptive", "num_head_channels": 4}, {}),
    "ddpm": (DDPM, {}),
    "ddpm_1d": ({**DDPM, "image_size": (8,), "in_channels": 3}, {}),
    "ddpmpp": (DDPM, {}),
    "dit": ({"in_channels": 3, "image_size": 8, "channels": 32, "depth": 3, "num_heads": 2}, {}),
    "edm2": ({**DDPM, "head_channels": 16}, {}),
    "edm_adm": ({**EDM_ADM, "num_head_channels": 4}, {}),
    "edm_ddpmpp": (DDPM, {}),
    "edm_ncsnpp": (DDPM, {}),
    "ncsnpp": ({**DDPM, "progressive": "output_skip", "progressive_input": "residual"}, {}),
    "ncsn": (REFINENET, {}),
    "ncsnv2_64": (REFINENET, {}),
    "ncsnv2_128": (REFINENET, {}),
    "ncsnv2_256": (REFINENET, {}),
}


def network(name: str, **options: Any) -> Network:
    """With weights that are not zero."""
    made: Network = register_model[name](**{**NETWORKS[name][0], **options})
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return made.train()


def trained(name: str, use_checkpoint: bool) -> tuple[list[Tensor], int]:
    """The gradients, and the bytes that the forward pass stored beside the weights."""
    net = network(name, use_checkpoint=use_checkpoint)
    known = {p.untyped_storage().data_ptr() for p in net.parameters()}
    stored: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            stored[storage.data_ptr()] = storage.nbytes()
        return tensor

    size = 16 if name == "ncsnv2_256" else 8  # it halves three times, and normalises over more than a pixel
    x = torch.randn(
        2, 3, *[size] * (1 if name == "ddpm_1d" else 2), generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    labels = torch.tensor([0.5, 20.0])
    with dropout_from(net, Noise(2, range(2))):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = net(x, labels, **NETWORKS[name][1]).square().sum()
        loss.backward()
    return [x.grad, *(p.grad for p in net.parameters() if p.requires_grad)], sum(stored.values())  # type: ignore[list-item]


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_gradients_from_less_memory(name: str) -> None:
    plain, memory = trained(name, use_checkpoint=False)
    recomputed, less = trained(name, use_checkpoint=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))
    assert any(float(gradient.abs().max()) > 0 for gradient in plain[1:])
    assert less < 0.5 * memory


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("ncsn") and name != "ncsnpp"])
def test_every_block_of_a_refinenet_is_computed_again(name: str) -> None:
    for use_checkpoint in (False, True):
        net = network(name, use_checkpoint=use_checkpoint)
        assert {block.checkpointed for block in net.modules() if isinstance(block, Block)} == {use_checkpoint}


def test_every_network_has_it() -> None:
    """Whoever adds a network of blocks finds this here; those of a few dense layers have nothing to save."""
    taking = {
        name
        for name in register_model
        if "use_checkpoint" in inspect.signature(register_model[name]).parameters
    }
    assert taking == set(NETWORKS)
    with_dropout = {
        name for name in register_model if "dropout" in inspect.signature(register_model[name]).parameters
    }
    assert with_dropout <= taking
