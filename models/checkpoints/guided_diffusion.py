"""State dicts of guided-diffusion and improved-diffusion: U-Nets, up-samplers and noisy classifiers.

A ``*.pt`` file is a plain state dict with layers named by position. The averaged weights are a file of
their own (``ema_<rate>_<step>.pt``), so there is nothing to choose within one. The architecture is only
in the flags that belong to the file; of those, the order of the attention's channels
(``use_new_attention_order``) leaves no trace in names or shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from models.base import Network
from models.checkpoints.base import Family, register_family

_TOP = {
    "time_embed.linear1": "time_embed.0",
    "time_embed.linear2": "time_embed.2",
    "label_embed": "label_emb",
    "conv_in": "input_blocks.0.0",
    "norm_out": "out.0",
    "conv_out": "out.2",
    # The pools of the noisy classifier; what they have in common with the above keeps its name.
    "pool.norm": "out.0",
    "pool.conv": "out.3",
    "pool.attention.qkv": "out.2.qkv_proj",
    "pool.attention.proj": "out.2.c_proj",
    "pool.attention": "out.2",
    "pool.linear1": "out.0",
    "pool.linear2": "out.2",
    "pool.norm_hidden": "out.1",
    "pool.linear3": "out.3",
}
_WITHIN_BLOCK = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "emb": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "skip": "skip_connection",
    "norm": "norm",
    "qkv": "qkv",
    "proj": "proj_out",
}
_STAGE = re.compile(r"(encoder|decoder)\.(\d+)\.(\w+)\.(\w+)\.(weight|bias)|(middle)()\.(\w+)\.(\w+)\.(weight|bias)")


@register_family(name="guided_diffusion")
class GuidedDiffusion(Family):
    """guided-diffusion's ``UNetModel``, ``SuperResModel`` and ``EncoderUNetModel``, and improved-diffusion's."""

    name = "guided_diffusion"

    def recognises(self, payload: Mapping[str, Any]) -> bool:
        return {"time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight"} <= set(payload)

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        return dict(payload)

    def key_map(self, network: Network) -> dict[str, str]:
        names = [name for name, _ in network.named_parameters()]
        places = _places(names)
        return {name: _theirs(name, places, type(network).__name__) for name in names}
