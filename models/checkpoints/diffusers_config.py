"""What a diffusers ``UNet2DModel`` config says, where its architecture is one of ours.

``DownBlock2D``/``AttnDownBlock2D`` with their mirror images are our ``ddpm`` (google/ddpm-*);
``SkipDownBlock2D``/``AttnSkipDownBlock2D`` are our ``ncsnpp`` with filters and image pyramids
(google/ncsnpp-*). Whatever else computes another function, and is refused with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.blocks.normalization import small_groups

_NORM_GROUPS = 32

# What UNet2DModel assumes where a config, written by an older version, says nothing.
_DEFAULTS: dict[str, Any] = {
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
# Settings that hold in all our networks: the values that mean the same, and what ours does.
_FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "mid_block_type": (("UNetMidBlock2D",), "ours has block, attention, block in the middle"),
    "downsample_type": (("conv",), "ours has no other"),
    "upsample_type": (("conv",), "ours has no other"),
    "act_fn": (("silu", "swish"), "diffusers itself uses it outside the blocks whatever act_fn says"),
    "norm_eps": ((1e-6,), "the eps of our normalisations"),
    "resnet_time_scale_shift": (("default",), "our blocks are told the time by addition"),
    "add_attention": ((True,), "ours attends in the middle"),
    "class_embed_type": ((None,), "our class embedding is a table, num_class_embeds"),
}
_POSITIONAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "flip_sin_to_cos": ((False,), "our time embedding has the sines first"),
    "freq_shift": ((1,), "the frequencies of our time embedding end at 1/10000 exactly"),
}
_PLAIN: dict[str, tuple[tuple[Any, ...], str]] = {
    "time_embedding_type": (("positional",), "our ddpm has sinusoids; the Fourier embedding is ncsnpp's"),
    "downsample_padding": ((0,), "our down-sampling pads behind only, as the published weights do"),
    "mid_block_scale_factor": ((1,), "our ddpm does not rescale its blocks"),
    "norm_num_groups": ((_NORM_GROUPS,), "the groups of our ddpm"),
    "attn_norm_num_groups": ((None, _NORM_GROUPS), "the groups of our ddpm"),
}
_SKIP: dict[str, tuple[tuple[Any, ...], str]] = {
    "time_embedding_type": (("fourier", "positional"), "what our ncsnpp has"),
    "mid_block_scale_factor": ((math.sqrt(2),), "our ncsnpp divides all blocks by sqrt 2, as Skip blocks do"),
    "norm_num_groups": ((None,), "the groups of our ncsnpp follow from the width"),
    "attn_norm_num_groups": ((None,), "the groups of our ncsnpp follow from the width"),
    "in_channels": ((3,), "the pyramids of diffusers' Skip blocks are of 3 channels"),
    "out_channels": ((3,), "the pyramids of diffusers' Skip blocks are of 3 channels"),
}


@dataclass(frozen=True)
class Architecture:
    """A network of ours by its registered name, and its constructor's arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class UNet2D:
    """A ``UNet2DModel`` that is one of our networks: its free settings.

    Args:
        skip: NCSN++'s blocks, else DDPM's.
        sample_size: height and width.
        centered: data are in [-1, 1]; otherwise [0, 1], rescaled on entry (``center_input_sample``).
        fourier: the time embedding of NCSN++ on sigma, the output divided by sigma; else sinusoidal.
        widths: channels of each level.
        attends: whether each level has attention.
        layers: blocks of a level on the way down.
        dropout: of training.
        num_classes: None for an unconditional network.

    Raises:
        ValueError: diffusers' Skip blocks normalise in other groups than ours at these widths.
    """

    skip: bool
    sample_size: tuple[int, int]
    in_channels: int
    out_channels: int
    centered: bool
    fourier: bool
    widths: tuple[int, ...]
    attends: tuple[bool, ...]
    layers: int
    dropout: float
    num_classes: int | None

    def __post_init__(self) -> None:
        if any(width % self.widths[0] for width in self.widths):
            raise _refused(
                "block_out_channels", list(self.widths), "multiples of the first", "ours has no other"
            )
        if any(size % 2 ** (len(self.widths) - 1) for size in self.sample_size):
            levels = f"multiples of {2 ** (len(self.widths) - 1)}"
            raise _refused("sample_size", list(self.sample_size), levels, "every level halves it")
        if any(channels % self._groups(channels) for channels in self._normalised()):
            why = "diffusers cannot normalise these widths, or their sums across a level, in equal groups"
            raise _refused("block_out_channels", list(self.widths), "multiples of 32, for one", why)
        if self.skip and any(
            attends and small_groups(width) != _NORM_GROUPS
            for width, attends in zip(self.widths, self.attends, strict=True)
        ):
            why = "diffusers attends in 32 groups at any width, ours in width / 4, at most 32"
            raise _refused("block_out_channels", list(self.widths), "128 or more where a level attends", why)

    def _groups(self, channels: int) -> int:
        return small_groups(channels) if self.skip else _NORM_GROUPS

    def _normalised(self) -> set[int]:
        """The channel counts that meet a normalisation: levels, and levels with their skip connections."""
        neighbours = zip(self.widths, self.widths[1:], strict=False)
        return {*self.widths, *(2 * width for width in self.widths), *(a + b for a, b in neighbours)}

    def architecture(self) -> Architecture:
        """The network of ours that computes the same function."""
        side = max(self.sample_size)
        arguments: dict[str, Any] = {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "image_size": self.sample_size,
            "channels": self.widths[0],
            "channel_mult": tuple(width // self.widths[0] for width in self.widths),
            "num_res_blocks": self.layers,
            "attention_resolutions": tuple(side // 2**i for i, attends in enumerate(self.attends) if attends),
            "dropout": self.dropout,
            "centered": self.centered,
            "num_classes": self.num_classes,
        }
        if not self.skip:
            return Architecture("ddpm", arguments | {"attention_after_every_up_block": True})
        return Architecture(
            "ncsnpp",
            arguments
            | {
                "embedding": "fourier" if self.fourier else "positional",
                "scale_by_sigma": self.fourier,
                "progressive": "output_skip",
                "progressive_input": "input_skip",
                "progressive_combine": "sum",
            },
        )

    def config(self) -> Mapping[str, Any]:
        """The config from which ``UNet2DModel.from_config`` builds the same network."""
        fixed = _FIXED | (_SKIP if self.skip else _PLAIN) | _POSITIONAL
        return {
            "_class_name": "UNet2DModel",
            **_DEFAULTS,
            **{name: values[0] for name, (values, _) in fixed.items()},
            "sample_size": list(self.sample_size),
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "center_input_sample": not self.centered,
            "time_embedding_type": "fourier" if self.fourier else "positional",
            "down_block_types": [_block("Down", self.skip, attends) for attends in self.attends],
            "up_block_types": [_block("Up", self.skip, attends) for attends in reversed(self.attends)],
            "block_out_channels": list(self.widths),
            "layers_per_block": self.layers,
            "dropout": self.dropout,
            "attention_head_dim": None,
            "num_class_embeds": self.num_classes,
        }

    def differences(self, other: UNet2D) -> list[str]:
        """The settings that change the function and are not those of ``other``."""
        ours, theirs = asdict(self), asdict(other)
        return [
            f"{name} is {theirs[name]} in the folder and {ours[name]} here"
            for name in ours
            if ours[name] != theirs[name] and name != "dropout"
        ]


def read_unet(config: Mapping[str, Any]) -> UNet2D:
    """The free settings of a ``config.json``.

    Raises:
        ValueError: the config is of another class, or describes a function that no network of ours computes;
            naming the setting, what is allowed and why.
    """
    if config.get("_class_name") != "UNet2DModel":
        raise ValueError(
            f"the diffusers config is of a {config.get('_class_name')!r}; of its classes only UNet2DModel is "
            "one of our networks."
        )
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    if unknown := sorted(given.keys() - _DEFAULTS.keys() - _NO_SETTINGS):
        raise ValueError(
            f"the diffusers config has settings that are not known here: {', '.join(unknown)}; "
            "what they do to the network cannot be told."
        )
    settings = _DEFAULTS | given
    down, up = list(settings["down_block_types"]), list(settings["up_block_types"])
    skip = "Skip" in down[0]
    attends = tuple(name.startswith("Attn") for name in down)
    _check_blocks(down, up, skip, attends)
    fixed = _FIXED | (_SKIP if skip else _PLAIN)
    if settings["time_embedding_type"] == "positional":
        fixed |= _POSITIONAL
    for name, (allowed, why) in fixed.items():
        if not any(_same(settings[name], value) for value in allowed):
            raise _refused(name, settings[name], " or ".join(map(repr, allowed)), why)
    widths = tuple(settings["block_out_channels"])
    attending = {width for width, attend in zip(widths, attends, strict=True) if attend} | {widths[-1]}
    if settings["attention_head_dim"] is not None and attending != {settings["attention_head_dim"]}:
        why = f"our attention has one head, here as wide as the level: {sorted(attending)}"
        raise _refused("attention_head_dim", settings["attention_head_dim"], "None", why)
    if settings["time_embedding_dim"] not in (None, 4 * widths[0]):
        raise _refused(
            "time_embedding_dim", settings["time_embedding_dim"], "None", "ours is 4 times the width"
        )
    size = settings["sample_size"]
    if size is None:
        raise _refused(
            "sample_size", None, "a size", "where our networks attend is told by resolution; write it in"
        )
    return UNet2D(
        skip=skip,
        sample_size=(size, size) if isinstance(size, int) else (size[0], size[1]),
        in_channels=settings["in_channels"],
        out_channels=settings["out_channels"],
        centered=not settings["center_input_sample"],
        fourier=settings["time_embedding_type"] == "fourier",
        widths=widths,
        attends=attends,
        layers=settings["layers_per_block"],
        dropout=float(settings["dropout"]),
        num_classes=settings["num_class_embeds"],
    )


def _check_blocks(down: list[str], up: list[str], skip: bool, attends: tuple[bool, ...]) -> None:
    wanted = [_block("Down", skip, attend) for attend in attends]
    if down != wanted:
        why = "DDPM's (Attn)DownBlock2D or NCSN++'s (Attn)SkipDownBlock2D at every level are ours"
        raise _refused("down_block_types", down, str(wanted), why)
    mirrored = [_block("Up", skip, attend) for attend in reversed(attends)]
    if up != mirrored:
        raise _refused("up_block_types", up, str(mirrored), "our way up mirrors the way down")


def _block(direction: str, skip: bool, attends: bool) -> str:
    return f"{'Attn' if attends else ''}{'Skip' if skip else ''}{direction}Block2D"


def _same(value: Any, allowed: Any) -> bool:
    if isinstance(value, (int, float)) and isinstance(allowed, (int, float)):
        return math.isclose(value, allowed, rel_tol=1e-6)
    return bool(value == allowed)


def _refused(name: str, value: Any, allowed: str, why: str) -> ValueError:
    return ValueError(f"the diffusers config has {name}={value!r}; allowed: {allowed} ({why}).")
