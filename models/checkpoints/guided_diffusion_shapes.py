"""What the names and shapes in a state dict of guided- or improved-diffusion say of its U-Net."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.checkpoints.architecture import Architecture, Described
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.misfits import ArchitectureError

SCHEDULE = NoiseSchedule(
    "ddpm", {"N": 1000, "beta_min": 0.1, "beta_max": 20.0, "schedule": "linear"}, False, "eps"
)
"""That of the flags' defaults."""
HEAD_CHANNELS, HEADS = 64, 4
"""Channels of a head of published networks that resample within residual blocks, and heads of the others and of the one
of 128 pixels."""
SIDE_OF_HEADS = 128
GUESSED = frozenset(
    {"num_heads", "num_heads_upsample", "num_head_channels", "use_new_attention_order"}
    | {"use_checkpoint", "freeu_backbone", "freeu_skip"}
)
"""Arguments that leave no trace in a file, and those of ours that change no weight."""
_COLOURS, _RANK = 3, 4
_UP = re.compile(r"output_blocks\.(\d+)\.[12]\.(conv|in_layers\.0)\.weight")
_INPUT = re.compile(r"input_blocks\.(\d+)\.")


@dataclass(frozen=True)
class _Levels:
    """How the blocks of a U-Net are arranged.

    Attributes:
        count: of levels.
        blocks: residual blocks of each level of the encoder.
        within: whether the resolution changes within residual blocks.
        learned: whether a layer of its own, or a block, changes it; otherwise it is averaged and repeated.
    """

    count: int
    blocks: int
    within: bool
    learned: bool

    def first(self, level: int) -> str:
        """The name of the first residual block of a level of the encoder."""
        return f"input_blocks.{1 + level * (self.blocks + 1)}"


def described_unet(payload: Mapping[str, Tensor], size: tuple[int, int]) -> Described:
    """The network of a state dict, and what its flags say and the file does not.

    Args:
        payload: tensors by their names.
        size: height and width of the images, which leave no trace: levels with attention are named by it.

    Raises:
        ArchitectureError: an up-sampler, a classifier, or blocks that are arranged otherwise than theirs.
    """
    architecture = unet_architecture(payload, size)
    heads = ("num_head_channels", "num_heads")
    said = next(
        f"{name}={architecture.arguments[name]}" for name in heads if architecture.arguments.get(name)
    )
    return Described(
        architecture,
        SCHEDULE,
        0.0,
        (
            f"The size of the images: {size[0]} x {size[1]}, as --config.data.image_size says.",
            f"The heads of the attention: model.{said}, as published. Their order: model.use_new_attention_order.",
            "The chain: model.num_scales (diffusion_steps), model.beta_schedule (noise_schedule), "
            "model.rescale_timesteps.",
            "What the network gives: model.output (x0 where predict_xstart was set).",
            "The data set, and how the network was trained.",
        ),
        GUESSED,
    )


def unet_architecture(payload: Mapping[str, Tensor], size: tuple[int, int]) -> Architecture:
    """The network of a state dict; arguments and errors of ``described_unet``."""
    first = payload["input_blocks.0.0.weight"]
    channels = int(payload["time_embed.0.weight"].shape[1])
    _check_kind(payload, first)
    levels = _levels(payload)
    widths = [int(payload[f"{levels.first(n)}.0.out_layers.3.weight"].shape[0]) for n in range(levels.count)]
    film = len(payload[f"{levels.first(0)}.0.emb_layers.1.weight"]) == 2 * widths[0]
    attending = [n for n in range(levels.count) if f"{levels.first(n)}.1.qkv.weight" in payload]
    attends_at = {widths[-1], *(widths[n] for n in attending)}
    wide = (
        levels.within
        and max(size) != SIDE_OF_HEADS
        and not any(width % HEAD_CHANNELS for width in attends_at)
    )
    labels = payload.get("label_emb.weight")
    return Architecture(
        "adm",
        {
            "image_size": size,
            "in_channels": int(first.shape[1]),
            "out_channels": int(payload["out.2.weight"].shape[0]),
            "channels": channels,
            "channel_mult": tuple(_multiple(width, channels) for width in widths),
            "num_res_blocks": levels.blocks,
            "attention_resolutions": tuple(size[1] >> n for n in attending),
            "num_head_channels" if wide else "num_heads": HEAD_CHANNELS if wide else HEADS,
            "use_scale_shift_norm": film,
            "resblock_updown": levels.within,
            "conv_resample": levels.learned,
            "num_classes": None if labels is None else len(labels),
        },
    )


def _multiple(width: int, channels: int) -> float:
    return width // channels if width % channels == 0 else width / channels


def _check_kind(payload: Mapping[str, Any], first: Tensor) -> None:
    """Refuse the other kinds of network that have such names."""
    if first.ndim != _RANK:
        raise ArchitectureError(
            f"the file's first convolution has {first.ndim - 2} axes, and that of an image has two.",
            "Write the configuration yourself, with data.shape.",
        )
    if "out.2.weight" not in payload or not any(name.startswith("output_blocks.") for name in payload):
        raise ArchitectureError(
            "the file is of a classifier, whose pool shows in too few of its weights.",
            "Take the configuration of its size, configs/adm/classifier_*.py.",
        )
    if first.shape[1] == 2 * _COLOURS:
        raise ArchitectureError(
            "the file is of an up-sampler, which sees a small image beside the large one.",
            "Take a configuration of one, configs/adm/*upsampler.py.",
        )


def _levels(payload: Mapping[str, Any]) -> _Levels:
    """The arrangement of the blocks: by what ends each level of the decoder, and without that of the encoder."""
    ups = {int(up[1]): up[2] for name in payload if (up := _UP.fullmatch(name))}
    inputs = {int(block[1]) for name in payload if (block := _INPUT.match(name))}
    averaged = sorted(set(range(max(inputs))) - inputs)  # what averages has no weights, and is a gap
    ends = sorted(ups) or [place - 1 for place in averaged]
    outputs = len({name.split(".")[1] for name in payload if name.startswith("output_blocks.")})
    blocks = ends[0] if ends else outputs - 1
    found = _Levels(len(ends) + 1, blocks, "in_layers.0" in ups.values(), bool(ups) or not averaged)
    if (
        blocks < 1
        or outputs != found.count * (blocks + 1)
        or max(inputs) + 1 != found.count * (blocks + 1)
        or ends != [level * (blocks + 1) + blocks for level in range(len(ends))]
    ):
        raise ArchitectureError(
            f"the file's U-Net has {max(inputs) + 1} input and {outputs} output blocks in {found.count} levels, which "
            f"are arranged otherwise than guided-diffusion's.",
            "Write the configuration by the flags that it was trained with: docs/from_improved_diffusion.md.",
        )
    return found
