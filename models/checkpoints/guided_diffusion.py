"""State dicts of guided-diffusion and improved-diffusion: U-Nets, up-samplers and noisy classifiers.

A ``*.pt`` file is a plain state dict with layers named by position. The averaged weights are a file of
their own (``ema_<rate>_<step>.pt``), so there is nothing to choose within one. Of the flags that belong
to the file, the size of the images, the heads of the attention and the order of their channels
(``use_new_attention_order``), and the noise schedule leave no trace in names or shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

from torch import Tensor

from models.base import Network
from models.checkpoints.architecture import Described
from models.checkpoints.base import Family, register_family
from models.checkpoints.guided_diffusion_shapes import described_unet

MARKS = frozenset({"time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight"})

_SINGLE = {
    "time_embed.linear1": "time_embed.0",
    "time_embed.linear2": "time_embed.2",
    "label_embed": "label_emb",
    "conv_in": "input_blocks.0.0",
    "norm_out": "out.0",
    "conv_out": "out.2",
    "readout.norm": "out.0",
    "readout.conv": "out.3",
    "readout.pool.qkv": "out.2.qkv_proj",
    "readout.pool.proj": "out.2.c_proj",
    "readout.hidden": "out.0",
    "readout.hidden_norm": "out.1",
}
_IN_BLOCK = {
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
_IN_STAGE = re.compile(r"((?:encoder|decoder)\.\d+|middle)\.(\w+)\.(\w+)")


def _stage(ours: str) -> str:
    """The reference counts its first convolution among the input blocks."""
    if ours == "middle":
        return "middle_block"
    half, index = ours.split(".")
    return f"input_blocks.{int(index) + 1}" if half == "encoder" else f"output_blocks.{index}"


@final
@register_family(name="guided_diffusion")
class GuidedDiffusionFamily(Family):
    """``UNetModel``, ``SuperResModel`` and ``EncoderUNetModel`` of guided- and improved-diffusion."""

    name: ClassVar[str] = "guided_diffusion"

    def recognises(self, payload: Any) -> bool:
        return isinstance(payload, Mapping) and payload.keys() >= MARKS

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        strange = [name for name, value in payload.items() if not isinstance(value, Tensor)]
        if strange:
            raise ValueError(
                f"a guided-diffusion file is a plain state dict, but {strange[0]!r} holds a "
                f"{type(payload[strange[0]]).__name__}; save the network's state_dict() alone."
            )
        return dict(payload)

    def key_map(self, network: Network) -> dict[str, str]:
        names = [name for name, _ in network.named_parameters()]
        singles = dict(_SINGLE)
        # The last layer of the spatial pools is the third or, after a normalisation, the fourth.
        singles["readout.classes"] = "out.3" if "readout.hidden_norm.weight" in names else "out.2"
        blocks: dict[str, list[str]] = {}  # the blocks of each stage, in their order
        for name in names:
            if found := _IN_STAGE.match(name):
                held = blocks.setdefault(found[1], [])
                if found[2] not in held:
                    held.append(found[2])

        def theirs(name: str) -> str:
            if name == "readout.pool.position":
                return "out.2.positional_embedding"
            layer, _, kind = name.rpartition(".")
            if layer in singles:
                return f"{singles[layer]}.{kind}"
            if found := _IN_STAGE.fullmatch(layer):
                stage, block, part = found.groups()
                resampling = {"conv": "op" if stage.startswith("encoder") else "conv"}
                if inner := (_IN_BLOCK | resampling).get(part):
                    return f"{_stage(stage)}.{blocks[stage].index(block)}.{inner}.{kind}"
            raise ValueError(
                f"guided-diffusion has no network with {type(network).__name__}'s parameter {name!r}; its "
                f"checkpoints load into 'adm' (upsample='nearest'), 'adm_superres' and 'adm_encoder'."
            )

        return {name: theirs(name) for name in names}

    def described(self, payload: Mapping[str, Any], size: tuple[int, int]) -> Described:
        return described_unet(self.tensors(payload, ema=True), size)
