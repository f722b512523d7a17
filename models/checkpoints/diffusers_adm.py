"""A diffusers ``UNet2DModel`` whose architecture is our ``adm``, both ways: what its config says, names and weights.

It is one with ``ResnetDownsampleBlock2D`` (openai's consistency models have it, which are ADM's U-Nets), with
``downsample_type`` ``resnet``, or whose blocks are told the time by scale and shift.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.blocks.attention import MultiHeadAttention
from models.blocks.block import Stage
from models.blocks.embeddings import NumberEmbedding, VectorEmbedding
from models.blocks.residual import ResBlock
from models.checkpoints.architecture import Architecture
from models.checkpoints.diffusers_settings import DEFAULTS, TOLD, reason, settings_of
from models.checkpoints.misfits import ArchitectureError
from models.networks.adm import ADM

_FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "time_embedding_type": (("positional",), "our adm has sinusoids"),
    "flip_sin_to_cos": ((True,), "our adm has the cosines first"),
    "freq_shift": ((0,), "the frequencies of our adm end one before 1/10000"),
    "norm_eps": ((1e-5,), "that of our adm's normalisations"),
    "mid_block_type": (("UNetMidBlock2D",), "ours has block, attention, block in the middle"),
    "mid_block_scale_factor": ((1,), "our adm does not rescale its blocks"),
    "downsample_padding": ((1,), "our adm pads one on both sides"),
    "act_fn": (("silu", "swish"), "diffusers itself uses it outside the blocks whatever act_fn says"),
    "add_attention": ((True,), "ours attends in the middle"),
    "center_input_sample": ((False,), "our adm takes data in [-1, 1]"),
    "resnet_time_scale_shift": (("default", "scale_shift"), "added, or scale and shift"),
    "downsample_type": (("conv", "resnet"), "ours has no other"),
    "upsample_type": (("conv", "resnet"), "ours has no other"),
    "class_embed_type": (tuple(TOLD), "what a network is told"),
}
_SINGLE = {
    "time_embed.linear1": "time_embedding.linear_1",
    "time_embed.linear2": "time_embedding.linear_2",
    "label_embed": "class_embedding",
    "class_embedding.dense_in": "class_embedding.linear_1",
    "class_embedding.dense_out": "class_embedding.linear_2",
    "conv_in": "conv_in",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
}
_IN_RES = {
    "norm1": "norm1",
    "conv1": "conv1",
    "emb": "time_emb_proj",
    "norm2": "norm2",
    "conv2": "conv2",
    "skip": "conv_shortcut",
}
_IN_ATTENTION = {"norm": "group_norm", "qkv": "qkv", "proj": "to_out.0"}
_MIDDLE = {"res1": "resnets.0", "attention": "attentions.0", "res2": "resnets.1"}
_IN_STAGE = re.compile(r"(encoder|decoder)\.(\d+)\.(res|attention|resample)\.(\w+)")
_QKV = re.compile(r"(.*\.attentions\.\d+)\.to_([qkv])\.(weight|bias)")


def is_adm(config: Mapping[str, Any]) -> bool:
    """Whether blocks are of ADM: resampling within residual blocks, or scale and shift by the time."""
    settings = DEFAULTS | dict(config)
    blocks = [*map(str, settings["down_block_types"]), *map(str, settings["up_block_types"])]
    within = "resnet" in (settings["downsample_type"], settings["upsample_type"])
    return (
        any("Resnet" in name for name in blocks)
        or within
        or settings["resnet_time_scale_shift"] == "scale_shift"
    )


def read_adm(config: Mapping[str, Any]) -> Architecture:
    """Our ``adm`` of the same function.

    Raises:
        ValueError: it is of another function than any ``adm``; naming every such setting, what is allowed and why.
    """
    settings = settings_of(config)
    if reasons := list(_wrong(settings)):
        raise ValueError(" ".join(reasons))
    widths, size = tuple(settings["block_out_channels"]), settings["sample_size"]
    sides = (size, size) if isinstance(size, int) else (size[0], size[1])
    attends = [str(name).startswith("Attn") for name in settings["down_block_types"]]
    head = settings["attention_head_dim"]
    multiples = tuple(width // widths[0] if width % widths[0] == 0 else width / widths[0] for width in widths)
    found: dict[str, Any] = {
        "image_size": sides,
        "in_channels": settings["in_channels"],
        "out_channels": settings["out_channels"],
        "channels": widths[0],
        "channel_mult": multiples,
        "num_res_blocks": settings["layers_per_block"],
        "attention_resolutions": tuple(sides[-1] // 2**level for level, has in enumerate(attends) if has),
        "num_head_channels": head,
        "use_new_attention_order": True,
        "use_scale_shift_norm": settings["resnet_time_scale_shift"] == "scale_shift",
        "resblock_updown": _within(settings),
        "num_classes": settings["num_class_embeds"] if settings["class_embed_type"] is None else None,
        "dropout": float(settings["dropout"]),
        "norm_groups": settings["norm_num_groups"],
    }
    if settings["class_embed_type"] is not None:
        found["told"] = TOLD[settings["class_embed_type"]]
    return Architecture("adm", found)


def _resampling(settings: Mapping[str, Any]) -> set[str]:
    """How resolutions change, each way there is: ``conv`` or ``resnet``. The last block of a half changes none."""
    found = set()
    for half in ("down", "up"):
        for name in list(settings[f"{half}_block_types"])[:-1]:
            plain = {"Resnet": "resnet", "Attn": settings[f"{half}sample_type"]}
            found.add(next((how for start, how in plain.items() if str(name).startswith(start)), "conv"))
    return found


def _within(settings: Mapping[str, Any]) -> bool:
    return "resnet" in _resampling(settings)


def _wrong(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, (allowed, why) in _FIXED.items():
        if settings[name] not in allowed:
            yield reason(name, settings[name], " or ".join(map(repr, allowed)), why)
    down, up = (list(map(str, settings[f"{half}_block_types"])) for half in ("down", "up"))
    known = {
        half: {f"{half}Block2D", f"Attn{half}Block2D", f"Resnet{half}sampleBlock2D"}
        for half in ("Down", "Up")
    }
    for name, held, half in (("down_block_types", down, "Down"), ("up_block_types", up, "Up")):
        if not set(held) <= known[half]:
            yield reason(name, held, " or ".join(sorted(known[half])), "the blocks of our adm")
    if len(_resampling(settings)) > 1:
        why = (
            "our adm changes the resolution by convolutions everywhere, or within residual blocks everywhere"
        )
        yield reason("downsample_type", settings["downsample_type"], "as all blocks resample", why)
    widths, size = list(settings["block_out_channels"]), settings["sample_size"]
    attends = [name.startswith("Attn") for name in down]
    if [name.startswith("Attn") for name in up] != attends[::-1]:
        yield reason("up_block_types", up, "attention at the same levels", "our way up mirrors the way down")
    if len(down) != len(widths):
        yield reason("block_out_channels", widths, f"{len(down)} numbers", "one for each of down_block_types")
        return
    if settings["time_embedding_dim"] not in (None, 4 * widths[0]):
        yield reason(
            "time_embedding_dim", settings["time_embedding_dim"], "None", "ours is 4 times the width"
        )
    groups, head = settings["norm_num_groups"], settings["attention_head_dim"]
    if groups is None or any(width % groups for width in widths):
        yield reason("norm_num_groups", groups, "a divisor of every width", "our adm has equal groups")
    # In its middle diffusers attends without a normalisation where nothing is said and time scales and shifts.
    shifted = settings["resnet_time_scale_shift"] == "scale_shift"
    if settings["attn_norm_num_groups"] not in ((groups,) if shifted else (None, groups)):
        why = "attention in the middle of our adm is normalised as everything is"
        yield reason("attn_norm_num_groups", settings["attn_norm_num_groups"], repr(groups), why)
    attending = {width for width, has in zip(widths, attends, strict=True) if has} | {widths[-1]}
    if head is None and len(attending) > 1:
        yield reason("attention_head_dim", None, "a number", "our adm has heads of one width, or one number")
    if head is not None and any(width % head for width in attending):
        yield reason(
            "attention_head_dim", head, "a divisor", f"whole heads of the widths that attend: {attending}"
        )
    if size is None:
        yield reason(
            "sample_size", None, "a size", "where our networks attend is told by resolution; write it in"
        )
    elif any(side % 2 ** (len(widths) - 1) for side in ([size] if isinstance(size, int) else size)):
        yield reason("sample_size", size, f"multiples of {2 ** (len(widths) - 1)}", "every level halves it")


def as_adm_config(network: ADM, sample_size: tuple[int, int]) -> dict[str, Any]:
    """The ``config.json`` from which ``UNet2DModel`` builds the same network.

    Raises:
        ArchitectureError: diffusers' class has no such network; naming what it lacks.
    """
    levels = network.levels
    down, up = _levels(network.encoder, levels), _levels(network.decoder, levels)
    attends = [any(hasattr(stage, "attention") for stage in held) for held in down]
    resamples = [
        stage.resample for stage in (*network.encoder, *network.decoder) if hasattr(stage, "resample")
    ]
    within = [isinstance(layer, ResBlock) for layer in resamples]
    heads = {part.proj.in_channels // part.heads for part in _attentions(network)}
    convolved = all(
        isinstance(getattr(r, "conv", None), nn.Conv2d) for r in resamples if not isinstance(r, ResBlock)
    )
    needs = {
        "images": network.dims == 2,
        "spare_label=False": not network.with_spare,
        "conv_resample=True and upsample='nearest'": convolved,
        "heads of one width (num_head_channels)": len(heads) == 1,
        "augment_labels=0": network.augment_embed is None,
    }
    if lacking := [what for what, holds in needs.items() if not holds]:
        raise ArchitectureError(f"diffusers' UNet2DModel has this network only with {', '.join(lacking)}.")
    first = next(iter(down[0]))
    assert isinstance(first.res, ResBlock)
    widths = [_width(next(iter(held))) for held in down]
    updown, shifted = any(within), first.res.film
    told: dict[type, str] = {NumberEmbedding: "timestep", VectorEmbedding: "identity"}
    resample, plain = ("resnet", "Resnet{}sampleBlock2D") if updown else ("conv", "{}Block2D")
    assert len(up) == levels
    return {
        "_class_name": "UNet2DModel",
        **DEFAULTS,
        **{name: values[0] for name, (values, _) in _FIXED.items()},
        "sample_size": list(sample_size),
        "in_channels": network.in_channels,
        "out_channels": network.conv_out.out_channels,
        "block_out_channels": widths,
        "layers_per_block": len([stage for stage in down[0] if hasattr(stage, "res")]),
        "down_block_types": ["AttnDownBlock2D" if has else plain.format("Down") for has in attends],
        "up_block_types": ["AttnUpBlock2D" if has else plain.format("Up") for has in reversed(attends)],
        "downsample_type": resample,
        "upsample_type": resample,
        "resnet_time_scale_shift": "scale_shift" if shifted else "default",
        "attention_head_dim": next(iter(heads)),
        "norm_num_groups": network.norm_out.groups,
        "attn_norm_num_groups": network.norm_out.groups,
        "dropout": first.res.dropout.p,
        "num_class_embeds": network.num_classes if network.class_embedding is None else None,
        "class_embed_type": told.get(type(network.class_embedding)),
    }


def _levels(stages: Any, levels: int) -> list[list[Stage]]:
    """The stages of each level, those that change the resolution with the level before them."""
    found: list[list[Stage]] = [[]]
    for stage in stages:
        found[-1].append(stage)
        if hasattr(stage, "resample") and len(found) < levels:
            found.append([])
    return found


def _width(stage: Stage) -> int:
    """Channels that a stage ends with."""
    assert isinstance(stage.res, ResBlock) and isinstance(stage.res.layers.conv_out, nn.Conv2d)
    return stage.res.layers.conv_out.out_channels


def _attentions(network: ADM) -> Iterator[MultiHeadAttention]:
    return (part for part in network.modules() if isinstance(part, MultiHeadAttention))


def adm_names(network: ADM) -> dict[str, str]:
    """Our parameter names -> diffusers', with q, k and v as one."""
    places: dict[tuple[str, int], tuple[int, int]] = {}  # level, and number there
    for half, stages in (("encoder", network.encoder), ("decoder", network.decoder)):
        counted = itertools.count()
        for level, held in enumerate(_levels(stages, network.levels)):
            number = -1
            for stage in held:
                number += 1 if hasattr(stage, "res") else 0
                places[half, next(counted)] = (level, number)

    def theirs(layer: str) -> str:
        if layer in _SINGLE:
            return _SINGLE[layer]
        if layer.startswith("middle."):
            _, part, last = layer.split(".")
            return f"mid_block.{_MIDDLE[part]}.{(_IN_ATTENTION if part == 'attention' else _IN_RES)[last]}"
        found = _IN_STAGE.fullmatch(layer)
        if found is None:
            raise ArchitectureError(f"diffusers' UNet2DModel has no network with {layer}.")
        half, stage, part, last = found.groups()
        level, number = places[half, int(stage)]
        ours = {"encoder": "down", "decoder": "up"}[half]
        if part == "resample":
            return f"{ours}_blocks.{level}.{ours}samplers.0.{_IN_RES.get(last, last)}"
        kind = "resnets" if part == "res" else "attentions"
        return f"{ours}_blocks.{level}.{kind}.{number}.{(_IN_RES if part == 'res' else _IN_ATTENTION)[last]}"

    split = {name: name.rpartition(".") for name, _ in network.named_parameters()}
    return {name: f"{theirs(layer)}.{kind}" for name, (layer, _, kind) in split.items()}


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Diffusers' weights with q, k and v as one matrix, in this order; those of attention as convolutions' are."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if projection := _QKV.fullmatch(name):
            if projection[2] == "q":
                parts = [weights[f"{projection[1]}.to_{part}.{projection[3]}"] for part in "qkv"]
                found[f"{projection[1]}.qkv.{projection[3]}"] = _as_conv(torch.cat(parts))
        elif ".attentions." in name and name.endswith("to_out.0.weight"):
            found[name] = _as_conv(weight)
        else:
            found[name] = weight
    return found


def ordered(weights: dict[str, Tensor], network: ADM) -> dict[str, Tensor]:
    """The same with the channels of q, k and v in the order of a network."""
    parts = _projections(network)
    return {
        name: weight.unflatten(0, (3, parts[name].heads, -1)).transpose(0, 1).flatten(0, 2)
        if name in parts and parts[name].heads_first
        else weight
        for name, weight in weights.items()
    }


def _projections(network: ADM) -> dict[str, MultiHeadAttention]:
    """The attention whose q, k and v a name of diffusers is, as one."""
    modules, found = dict(network.named_modules()), {}
    for ours, theirs in adm_names(network).items():
        part = modules[ours.rpartition(".qkv.")[0]]
        if isinstance(part, MultiHeadAttention):
            found[theirs] = part
    return found


def adm_weights(network: ADM) -> dict[str, Tensor]:
    """The weights by diffusers' names: q, k and v apart, as matrices."""
    parameters, parts = dict(network.named_parameters()), _projections(network)
    found: dict[str, Tensor] = {}
    for ours, theirs in adm_names(network).items():
        weight, (head, _, kind) = parameters[ours].detach().cpu(), theirs.rpartition(".")
        if head.endswith(".qkv"):
            if parts[theirs].heads_first:
                weight = weight.unflatten(0, (parts[theirs].heads, 3, -1)).transpose(0, 1).flatten(0, 2)
            for letter, split in zip("qkv", weight.chunk(3), strict=True):
                found[f"{head.removesuffix('.qkv')}.to_{letter}.{kind}"] = (
                    _as_matrix(split).contiguous().clone()
                )
        elif ".attentions." in theirs and head.endswith("to_out.0"):
            found[theirs] = _as_matrix(weight).contiguous()
        else:
            found[theirs] = weight.contiguous()
    return found


def _as_conv(weight: Tensor) -> Tensor:
    return weight[..., None] if weight.ndim == 2 else weight


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1) if weight.ndim == 3 else weight


def differences(network: ADM, config: Mapping[str, Any]) -> list[str]:
    """The settings that show in no weight and differ between a network and a folder's config."""
    wanted = DEFAULTS | dict(config)
    size = wanted["sample_size"]
    ours = as_adm_config(network, (size, size) if isinstance(size, int) else (size[0], size[1]))
    return [
        f"{name} is {wanted[name]} in the folder and {ours[name]} here"
        for name in ("norm_num_groups", "class_embed_type")
        if wanted[name] != ours[name]
    ] + (
        [
            f"attention_head_dim is {wanted['attention_head_dim']} in the folder and {ours['attention_head_dim']} here"
        ]
        if wanted["attention_head_dim"] not in (None, ours["attention_head_dim"])
        else []
    )
