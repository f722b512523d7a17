"""The names of weights, which checkpoints hold: a block that networks share keeps each network's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.base import register_model

TWO = ("weight", "bias")
SMALL: dict[str, Any] = {
    "image_size": 8,
    "channels": 32,
    "channel_mult": (1,),
    "num_res_blocks": 1,
    "attention_resolutions": (8,),
}
BLOCK = ("norm_in", "conv_in", "time_proj", "norm_out", "conv_out")
ATTENTION = ("norm", "query", "key", "value", "out")
EXPECTED = {
    "ddpm": {
        "time_embedding": ("dense_in", "dense_out"),
        "down.0.blocks.0": BLOCK,
        "down.0.attentions.0": ATTENTION,
        "middle.block_in": BLOCK,
        "up.0.blocks.1": (*BLOCK, "shortcut"),
    },
    "ncsnpp": {
        "time_embedding": ("dense_in", "dense_out"),
        "down.0.blocks.0": BLOCK,
        "down.0.attentions.0": ATTENTION,
        "middle_in": BLOCK,
        "up.0.blocks.1": (*BLOCK, "shortcut"),
        "readout": ("norm", "conv"),
    },
    "adm": {
        "time_embed": ("linear1", "linear2"),
        "encoder.0.res": ("norm1", "conv1", "emb", "norm2", "conv2"),
        "encoder.0.attention": ("norm", "qkv", "proj"),
        "middle.res1": ("norm1", "conv1", "emb", "norm2", "conv2"),
        "decoder.1.res": ("norm1", "conv1", "emb", "norm2", "conv2", "skip"),
    },
}


@pytest.mark.parametrize("model", EXPECTED)
def test_names_of_the_weights_of_a_block_in_their_order(model: str) -> None:
    """Optimizer states number the weights, so their order counts too."""
    with torch.device("meta"):
        network = register_model[model](**SMALL)
    for module, layers in EXPECTED[model].items():
        names = [name for name, _ in network.get_submodule(module).named_parameters()]
        assert names == [f"{layer}.{kind}" for layer in layers for kind in TWO]
