"""The settings of a diffusers ``UNet2DModel``, and how one that no network of ours has is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.blocks.embeddings import Told

NO_CONFIG = (
    "this file is the weights of a diffusers folder without the config that says what they mean; "
    "give the folder."
)
TOLD: dict[str | None, Told] = {None: "class", "timestep": "number", "identity": "vector"}
"""What ``class_embed_type`` says is told to a network beside the time."""
# What UNet2DModel assumes where a config, written by an older version, says nothing.
DEFAULTS: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
# Notes that training scripts leave in a config; none is the network's.
_NO_SETTINGS = frozenset(
    (
        "decay",
        "inv_gamma",
        "min_decay",
        "optimization_step",
        "power",
        "set_W_to_weight",
        "update_after_step",
        "use_ema_warmup",
    )
)


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a ``config.json``, the defaults included.

    Raises:
        ValueError: the config is of another class, or has settings that are not known here.
    """
    if config.get("_class_name") != "UNet2DModel":
        raise ValueError(
            f"the diffusers config is of a {config.get('_class_name')!r}; of its classes only UNet2DModel is "
            "one of our networks."
        )
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    if unknown := sorted(given.keys() - DEFAULTS.keys() - _NO_SETTINGS):
        raise ValueError(
            f"the diffusers config has settings that are not known here: {', '.join(unknown)}; "
            "what they do to the network cannot be told."
        )
    return DEFAULTS | given


def reason(name: str, value: Any, allowed: str, why: str) -> str:
    """Why a setting is refused: what it is, what is allowed and why."""
    return f"the diffusers config has {name}={value!r}; allowed: {allowed} ({why})."
