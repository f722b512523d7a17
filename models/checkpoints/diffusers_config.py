"""What a diffusers ``UNet2DModel`` config says, where its architecture is one of ours.

``DownBlock2D``/``AttnDownBlock2D`` with their mirror images are our ``ddpm`` (google/ddpm-*);
``SkipDownBlock2D``/``AttnSkipDownBlock2D`` are our ``ncsnpp`` with filters and image pyramids
(google/ncsnpp-*). ADM's are in ``diffusers_adm.py``. Whatever else computes another function, and is refused with the
reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from models.blocks.embeddings import Told
from models.blocks.normalization import small_groups
from models.checkpoints.architecture import Architecture
from models.checkpoints.diffusers_settings import DEFAULTS, TOLD, reason, settings_of

_NORM_GROUPS = 32

# Settings that hold in all our networks: the values that mean the same, and what ours does.
_FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "mid_block_type": (("UNetMidBlock2D",), "ours has block, attention, block in the middle"),
    "downsample_type": (("conv",), "ours has no other"),
    "upsample_type": (("conv",), "ours has no other"),
    "act_fn": (("silu", "swish"), "diffusers itself uses it outside the blocks whatever act_fn says"),
    "resnet_time_scale_shift": (("default",), "our blocks are told the time by addition"),
    "add_attention": ((True,), "ours attends in the middle"),
}
_POSITIONAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "flip_sin_to_cos": ((False,), "our time embedding has the sines first"),
    "freq_shift": ((1,), "the frequencies of our time embedding end at 1/10000 exactly"),
}
_PLAIN: dict[str, tuple[tuple[Any, ...], str]] = {
    "time_embedding_type": (("positional",), "our ddpm has sinusoids; the Fourier embedding is ncsnpp's"),
    "downsample_padding": ((0, 1), "our down-sampling pads behind, or one on both sides"),
    "flip_sin_to_cos": ((False, True), "sines or cosines first"),
    "freq_shift": ((1, 0), "the frequencies of our time embedding end at 1/10000, or one before"),
    "mid_block_scale_factor": ((1,), "our ddpm does not rescale its blocks"),
    "norm_num_groups": ((_NORM_GROUPS,), "the groups of our ddpm"),
    "attn_norm_num_groups": ((None, _NORM_GROUPS), "the groups of our ddpm"),
    "class_embed_type": (tuple(TOLD), "what a network is told beside the time"),
}
_SKIP: dict[str, tuple[tuple[Any, ...], str]] = {
    "class_embed_type": ((None,), "our class embedding is a table, num_class_embeds"),
    "norm_eps": ((1e-6,), "the eps of our ncsnpp's normalisations"),
    "time_embedding_type": (("fourier", "positional"), "what our ncsnpp has"),
    "mid_block_scale_factor": ((math.sqrt(2),), "our ncsnpp divides all blocks by sqrt 2, as Skip blocks do"),
    "norm_num_groups": ((None,), "the groups of our ncsnpp follow from the width"),
    "attn_norm_num_groups": ((None,), "the groups of our ncsnpp follow from the width"),
    "in_channels": ((3,), "the pyramids of diffusers' Skip blocks are of 3 channels"),
    "out_channels": ((3,), "the pyramids of diffusers' Skip blocks are of 3 channels"),
}


@dataclass(frozen=True)
class Variant:
    """The settings in which DDPM's networks differ: by default those of google/ddpm-*.

    Args:
        head_channels: of each attention head; None for one head as wide as the level.
        padding: of down-sampling: 0 behind each axis, 1 on both sides.
        norm_eps: of every normalisation.
        cosines_first: order of the time embedding (``flip_sin_to_cos``).
        freq_shift: 1 where the lowest frequency is 1/10000 exactly, else 0.
        told: what the network is told beside the time (``class_embed_type``).
    """

    head_channels: int | None = None
    padding: int = 0
    norm_eps: float = 1e-6
    cosines_first: bool = False
    freq_shift: int = 1
    told: Told = "class"


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
        variant: of DDPM's networks.

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
    variant: Variant = Variant()

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
        neighbours = itertools.pairwise(self.widths)
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
            arguments["attention_after_every_up_block"] = True
            return Architecture("ddpm", arguments | self._variant_arguments())
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

    def _variant_arguments(self) -> dict[str, Any]:
        """What differs from our network's defaults."""
        ours, usual = self.variant, Variant()
        arguments = {
            "head_channels": (ours.head_channels, usual.head_channels),
            "downsample_padding": ("both" if ours.padding else "behind", "behind"),
            "norm_eps": (ours.norm_eps, usual.norm_eps),
            "time_cosines_first": (ours.cosines_first, usual.cosines_first),
            "time_endpoint": (bool(ours.freq_shift), True),
            "told": (ours.told, usual.told),
        }
        return {name: value for name, (value, default) in arguments.items() if value != default}

    def config(self) -> Mapping[str, Any]:
        """The config from which ``UNet2DModel.from_config`` builds the same network."""
        fixed = _FIXED | (_SKIP | _POSITIONAL if self.skip else _PLAIN)
        variant = {
            "downsample_padding": self.variant.padding,
            "flip_sin_to_cos": self.variant.cosines_first,
            "freq_shift": self.variant.freq_shift,
            "norm_eps": self.variant.norm_eps,
            "class_embed_type": next(theirs for theirs, ours in TOLD.items() if ours == self.variant.told),
        }
        return {
            "_class_name": "UNet2DModel",
            **DEFAULTS,
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
            "attention_head_dim": self.variant.head_channels,
            "num_class_embeds": self.num_classes,
            **({} if self.skip else variant),
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
            naming every such setting, what is allowed and why.
    """
    settings = settings_of(config)
    skip = "Skip" in str(settings["down_block_types"])
    if reasons := [*_wrong_blocks(settings, skip), *_wrong_settings(settings, skip)]:
        raise ValueError(" ".join(reasons))
    widths = tuple(settings["block_out_channels"])
    attends = tuple(name.startswith("Attn") for name in settings["down_block_types"])
    size, head = settings["sample_size"], settings["attention_head_dim"]
    variant = Variant(
        head_channels=None if _attending(settings) == {head} else head,
        padding=settings["downsample_padding"],
        norm_eps=float(settings["norm_eps"]),
        cosines_first=bool(settings["flip_sin_to_cos"]),
        freq_shift=int(settings["freq_shift"]),
        told=TOLD[settings["class_embed_type"]],
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
        num_classes=settings["num_class_embeds"] if settings["class_embed_type"] is None else None,
        variant=Variant() if skip else variant,
    )


def _attending(settings: Mapping[str, Any]) -> set[int]:
    """The widths with attention; the middle, as wide as the last level, always has it."""
    widths, down = settings["block_out_channels"], settings["down_block_types"]
    return {width for width, name in zip(widths, down, strict=True) if name.startswith("Attn")} | {widths[-1]}


def _wrong_blocks(settings: Mapping[str, Any], skip: bool) -> Iterator[str]:
    down, up = list(settings["down_block_types"]), list(settings["up_block_types"])
    attends = [str(name).startswith("Attn") for name in down]
    if down != (wanted := [_block("Down", skip, attend) for attend in attends]):
        why = "DDPM's (Attn)DownBlock2D or NCSN++'s (Attn)SkipDownBlock2D at every level are ours"
        yield reason("down_block_types", down, str(wanted), why)
    if up != (mirrored := [_block("Up", skip, attend) for attend in reversed(attends)]):
        yield reason("up_block_types", up, str(mirrored), "our way up mirrors the way down")
    if len(down) != len(settings["block_out_channels"]):
        widths = settings["block_out_channels"]
        yield reason("block_out_channels", widths, f"{len(down)} numbers", "one for each of down_block_types")


def _wrong_settings(settings: Mapping[str, Any], skip: bool) -> Iterator[str]:
    """Every setting that makes another function than ours."""
    fixed = _FIXED | (_SKIP if skip else _PLAIN)
    if skip and settings["time_embedding_type"] == "positional":
        fixed |= _POSITIONAL
    for name, (allowed, why) in fixed.items():
        if not any(_same(settings[name], value) for value in allowed):
            yield reason(name, settings[name], " or ".join(map(repr, allowed)), why)
    widths = settings["block_out_channels"]
    head = settings["attention_head_dim"]
    if head is not None and len(widths) == len(settings["down_block_types"]):
        attending = _attending(settings)
        if skip and attending != {head}:
            why = f"our ncsnpp's attention has one head, here as wide as the level: {sorted(attending)}"
            yield reason("attention_head_dim", head, "None", why)
        elif any(width % head for width in attending):
            why = f"whole heads of the widths that attend: {sorted(attending)}"
            yield reason("attention_head_dim", head, "None or a divisor", why)
    if settings["time_embedding_dim"] not in (None, 4 * widths[0]):
        yield reason(
            "time_embedding_dim", settings["time_embedding_dim"], "None", "ours is 4 times the width"
        )
    if settings["sample_size"] is None:
        why = "where our networks attend is told by resolution; write it in"
        yield reason("sample_size", None, "a size", why)


def _block(direction: str, skip: bool, attends: bool) -> str:
    return f"{'Attn' if attends else ''}{'Skip' if skip else ''}{direction}Block2D"


def _same(value: Any, allowed: Any) -> bool:
    if isinstance(value, (int, float)) and isinstance(allowed, (int, float)):
        return math.isclose(value, allowed, rel_tol=1e-6)
    return bool(value == allowed)


def _refused(name: str, value: Any, allowed: str, why: str) -> ValueError:
    return ValueError(reason(name, value, allowed, why))
