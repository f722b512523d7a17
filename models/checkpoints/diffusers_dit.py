"""diffusers' ``DiTTransformer2DModel``: DiT with the embeddings of time and class once in every block, all equal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from models.base import Network
from models.checkpoints.architecture import Architecture, Described
from models.checkpoints.base import Family, register_family
from models.checkpoints.diffusers_schedule import UNTOLD, told_schedule
from models.checkpoints.diffusers_settings import NO_CONFIG
from models.checkpoints.dit import DROPOUT, check_places
from models.checkpoints.misfits import ArchitectureError
from models.networks.dit import DiT

TRANSFORMERS = ("DiTTransformer2DModel", "Transformer2DModel")
"""Names that the class has, or had before diffusers 0.29."""

_DEFAULTS: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "sample_size": 32,
    "patch_size": 2,
    "num_embeds_ada_norm": 1000,
    "norm_eps": 1e-5,
}
# Settings that our network has always: the first is what an export writes.
_FIXED: dict[str, tuple[Any, ...]] = {
    "dropout": (0.0,),
    "attention_bias": (True,),
    "activation_fn": ("gelu-approximate",),
    "norm_type": ("ada_norm_zero",),
    "norm_elementwise_affine": (False,),
    "upcast_attention": (False, True),
    "norm_num_groups": (32,),
}
# Of the class's earlier name, which served other networks as well.
_ABSENT: dict[str, tuple[Any, ...]] = {
    "cross_attention_dim": (None,),
    "num_vector_embeds": (None,),
    "only_cross_attention": (False,),
    "use_linear_projection": (False,),
    "double_self_attention": (False,),
    "attention_type": ("default",),
    "caption_channels": (None,),
    "interpolation_scale": (None,),
    "use_additional_conditions": (None,),
}
_EMBEDDERS = re.compile(r"transformer_blocks\.(\d+)\.(norm1\.emb\..+)")
_FIRST = "transformer_blocks.0.norm1.emb"
_QKV = re.compile(r"(transformer_blocks\.\d+\.attn1)\.to_([qkv])\.(\w+)")
_MARKS = frozenset({"transformer_blocks.0.attn1.to_q.weight", "proj_out_1.weight", "proj_out_2.weight"})
_POSITIONS = "pos_embed.pos_embed"
_SINGLE = {
    "patches": "pos_embed.proj",
    "time_embedding.dense_in": f"{_FIRST}.timestep_embedder.linear_1",
    "time_embedding.dense_out": f"{_FIRST}.timestep_embedder.linear_2",
    "class_embedding.table": f"{_FIRST}.class_embedder.embedding_table",
    "readout.modulation": "proj_out_1",
    "readout.linear": "proj_out_2",
}
_IN_BLOCK = {
    "qkv": "attn1.qkv",
    "proj": "attn1.to_out.0",
    "dense_in": "ff.net.0.proj",
    "dense_out": "ff.net.2",
    "modulation": "norm1.linear",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(\w+)")


def is_transformer(settings: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is of this class."""
    return settings.get("_class_name") in TRANSFORMERS


def read_transformer(settings: Mapping[str, Any]) -> Architecture:
    """The network that a ``config.json`` describes.

    Raises:
        ValueError: the class is here another network than DiT; naming every such setting and what is allowed.
    """
    given = {name: value for name, value in settings.items() if not name.startswith("_")}
    known = _FIXED | _ABSENT
    strange = [
        f"{name}={value!r}"
        for name, value in given.items()
        if (value not in known[name] if name in known else name not in _DEFAULTS)
    ]
    if strange:
        raise ValueError(
            f"the diffusers config has {', '.join(strange)[:300]}; our dit has none of these; it has "
            f"{', '.join(f'{name}={values[0]!r}' for name, values in _FIXED.items())}."
        )
    values = _DEFAULTS | given
    size, classes = values["sample_size"], values["num_embeds_ada_norm"]
    return Architecture(
        "dit",
        {
            "in_channels": values["in_channels"],
            "out_channels": values["out_channels"] or values["in_channels"],
            "image_size": (size, size),
            "patch_size": values["patch_size"],
            "channels": values["num_attention_heads"] * values["attention_head_dim"],
            "depth": values["num_layers"],
            "num_heads": values["num_attention_heads"],
            "mlp_norm_eps": float(values["norm_eps"]),
            "time_endpoint": True,
            "num_classes": classes + 1,  # the last stands for no class
        },
    )


@final
@register_family(name="diffusers_dit")
class DiffusersDiT(Family):
    """``DiTTransformer2DModel``, where all blocks embed time and class alike."""

    name: ClassVar[str] = "diffusers_dit"

    def recognises(self, payload: Any) -> bool:
        if not isinstance(payload, Mapping):
            return False
        return is_transformer(payload.get("unet_config", {})) or payload.keys() >= _MARKS

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """The weights; those of q, k and v as one matrix, the embeddings of the first block alone."""
        if "unet_config" not in payload:
            raise ValueError(NO_CONFIG)
        held: dict[str, Tensor] = dict(payload["weights"])
        found: dict[str, Tensor] = {}
        for name, weight in held.items():
            if (embedder := _EMBEDDERS.fullmatch(name)) and embedder[1] != "0":
                if not torch.equal(weight, held[f"transformer_blocks.0.{embedder[2]}"]):
                    raise ValueError(
                        f"{name} of the diffusers folder differs from that of the first block; our dit has one "
                        "embedding of time and class for all."
                    )
            elif projection := _QKV.fullmatch(name):
                if projection[2] == "q":
                    parts = [held[f"{projection[1]}.to_{part}.{projection[3]}"] for part in "qkv"]
                    found[f"{projection[1]}.qkv.{projection[3]}"] = torch.cat(parts)
            elif name != _POSITIONS:
                found[name] = weight
        return found

    def key_map(self, network: Network) -> dict[str, str]:
        if not isinstance(network, DiT):
            raise ArchitectureError(
                f"the diffusers folder is of a DiT, and the network is a {type(network).__name__}."
            )
        return transformer_names(network)

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        """Also refuses a network of other settings than the folder's: most show in no weight."""
        assert isinstance(network, DiT)
        wanted, found = read_transformer(payload["unet_config"]).arguments, settings_of_dit(network)
        wrong = [
            f"{name} is {wanted[name]} in the folder and {found[name]} here"
            for name in found
            if wanted[name] != found[name]
        ]
        if wrong:
            raise ArchitectureError(
                f"the diffusers folder does not fit the network: {'; '.join(wrong)}.",
                "Build the network that models.describe_folder gives.",
            )
        check_places(payload["weights"].get(_POSITIONS), network)
        reasons = {"unet_config": "the network's settings, compared with the network's own"}
        if "scheduler_config" in payload:
            reasons["scheduler_config"] = "the noise schedule, which is the config's to take"
        if _POSITIONS in payload["weights"]:
            reasons[_POSITIONS] = "fixed positions, which follow from the size"
        return reasons

    def described(self, payload: Mapping[str, Any], size: tuple[int, int]) -> Described:
        if "unet_config" not in payload:
            raise ValueError(NO_CONFIG)
        return Described(read_transformer(payload["unet_config"]), told_schedule(payload), DROPOUT, UNTOLD)


def settings_of_dit(network: DiT) -> dict[str, Any]:
    """What shows in no weight."""
    first = next(iter(network.blocks))
    return {
        "num_heads": first.heads,
        "mlp_norm_eps": network.mlp_norm_eps,
        "time_endpoint": network.time_endpoint,
    }


def transformer_names(network: DiT) -> dict[str, str]:
    """Our parameter names -> diffusers', with q, k and v as one."""

    def theirs(name: str) -> str:
        layer, _, kind = name.rpartition(".")
        if found := _BLOCK.fullmatch(layer):
            return f"transformer_blocks.{found[1]}.{_IN_BLOCK[found[2]]}.{kind}"
        return f"{_SINGLE[layer]}.{kind}"

    return {name: theirs(name) for name, _ in network.named_parameters()}


def as_transformer(network: DiT) -> dict[str, Any]:
    """The ``config.json`` from which diffusers builds the same network.

    Raises:
        ArchitectureError: it has no such network; naming the setting that it lacks.
    """
    first, classes = next(iter(network.blocks)), network.class_embedding
    wanted = {
        "images of one side": network.rank == 2 and len({*network.grid}) == 1,
        "time_endpoint=True": network.time_endpoint,
        "norm_eps=1e-6": network.norm_eps == 1e-6,
        "expansion=4": first.dense_out.in_features == 4 * network.channels,
        "classes and a label for none (model.num_classes, training.label_dropout)": classes is not None,
    }
    if lacking := [what for what, holds in wanted.items() if not holds]:
        raise ArchitectureError(
            f"diffusers' DiTTransformer2DModel has this network only with {', '.join(lacking)}."
        )
    assert classes is not None
    return {
        "_class_name": TRANSFORMERS[0],
        **{name: values[0] for name, values in _FIXED.items()},
        "num_attention_heads": first.heads,
        "attention_head_dim": network.channels // first.heads,
        "in_channels": network.in_channels,
        "out_channels": network.out_channels,
        "num_layers": len(network.blocks),
        "sample_size": network.grid[0] * network.patch_size,
        "patch_size": network.patch_size,
        "num_embeds_ada_norm": classes.table.num_embeddings - 1,
        "norm_eps": network.mlp_norm_eps,
    }


def transformer_weights(network: DiT) -> dict[str, Tensor]:
    """The weights by diffusers' names: q, k and v apart, the embeddings once for each block."""
    parameters = dict(network.named_parameters())
    found: dict[str, Tensor] = {}
    for ours, theirs in transformer_names(network).items():
        weight = parameters[ours].detach().cpu()
        head, _, kind = theirs.rpartition(".")
        if head.endswith(".qkv"):
            for part, split in zip("qkv", weight.chunk(3), strict=True):
                found[f"{head.removesuffix('.qkv')}.to_{part}.{kind}"] = split.clone()
        elif theirs.startswith(_FIRST):
            for block in range(len(network.blocks)):
                found[theirs.replace("blocks.0.", f"blocks.{block}.", 1)] = weight.clone()
        else:
            found[theirs] = weight.contiguous()
    return found
