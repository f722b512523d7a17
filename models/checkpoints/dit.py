"""DiT's and SiT's state dicts, both ways.

Peebles & Xie 2023, Ma et al. 2024: a plain state dict, as published, or one within ``ema`` beside ``model``. The two
programs have the same names; what the network outputs, and what it is told of the time, is not in the file. Nor is the
number of heads: 6 for 384 channels, 12 for 768, 16 for 1024 and 1152.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from models.base import Network
from models.checkpoints.architecture import Architecture, Described
from models.checkpoints.base import Family, register_family
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.misfits import ArchitectureError
from models.networks.dit import DiT

MARKS = frozenset({"x_embedder.proj.weight", "t_embedder.mlp.0.weight", "final_layer.linear.weight"})
HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}
"""Heads of the published sizes, by their channels."""

DROPOUT = 0.1
"""Share of the labels that DiT and SiT withhold."""
SCHEDULE = NoiseSchedule(
    "ddpm", {"N": 1000, "beta_min": 0.1, "beta_max": 20.0, "schedule": "linear"}, False, "eps"
)
"""DiT's."""

_POSITIONS = "pos_embed"
_LAST = ("final_layer.linear.weight", "final_layer.linear.bias")
_SINGLE = {
    "patches": "x_embedder.proj",
    "time_embedding.dense_in": "t_embedder.mlp.0",
    "time_embedding.dense_out": "t_embedder.mlp.2",
    "class_embedding.table": "y_embedder.embedding_table",
    "readout.modulation": "final_layer.adaLN_modulation.1",
    "readout.linear": "final_layer.linear",
}
_IN_BLOCK = {
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "dense_in": "mlp.fc1",
    "dense_out": "mlp.fc2",
    "modulation": "adaLN_modulation.1",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(\w+)")


@final
@register_family(name="dit")
class DiTFamily(Family):
    """The transformers of DiT and SiT."""

    name: ClassVar[str] = "dit"

    def recognises(self, payload: Any) -> bool:
        return isinstance(payload, Mapping) and payload.keys() >= MARKS

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        return {name: weight for name, weight in payload.items() if name != _POSITIONS}

    def fitted(self, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
        """For a network without learned variances, such as SiT's flows, the last layer without the rows of them."""
        if not (isinstance(network, DiT) and _has_further(tensors, network)):
            return tensors
        halves = {name: tensors[name].unflatten(0, (-1, 2, network.in_channels)) for name in _LAST}
        return tensors | {name: half[:, 0].flatten(0, 1) for name, half in halves.items()}

    def key_map(self, network: Network) -> dict[str, str]:
        if not isinstance(network, DiT):
            raise ArchitectureError(f"DiT's files are of 'dit', and not of {type(network).__name__}.")
        return dit_names(network)

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        """Also refuses positions that are not the network's: they show in no weight of it."""
        assert isinstance(network, DiT)
        check_places(payload.get(_POSITIONS), network)
        reasons = {_POSITIONS: "fixed positions, which follow from the size"} if _POSITIONS in payload else {}
        if _has_further(payload, network):
            reasons["final_layer.linear"] = (
                "its half of learned variances, which this network does not output"
            )
        return reasons

    def described(self, payload: Mapping[str, Any], size: tuple[int, int]) -> Described:
        architecture = dit_architecture(payload, size)
        untold = [
            "The process, and what the network outputs: those of DiT here; SiT's are flows.",
            f"The number of heads: {architecture.arguments['num_heads']} as published for this width.",
            "The data set, and the autoencoder whose latents they are.",
        ]
        if architecture.arguments["num_classes"] is not None:
            untold.append(
                "Whether the last class stands for none: taken to, as published (training.label_dropout)."
            )
        if _POSITIONS not in payload:
            untold.append(f"The size of the data: {size[0]} x {size[1]}, as --config.data.image_size says.")
        dropout = 0.0 if architecture.arguments["num_classes"] is None else DROPOUT
        return Described(
            architecture, SCHEDULE, dropout, tuple(untold), frozenset({"num_heads", "out_channels"})
        )


def _has_further(tensors: Mapping[str, Tensor], network: DiT) -> bool:
    """Whether the last layer has variances beside what the network outputs."""
    values = 2 * network.in_channels * network.patch_size**network.rank
    return network.out_channels == network.in_channels and len(tensors[_LAST[0]]) == values


def dit_names(network: DiT) -> dict[str, str]:
    """Our parameter names -> DiT's."""

    def theirs(name: str) -> str:
        layer, _, kind = name.rpartition(".")
        if found := _BLOCK.fullmatch(layer):
            return f"blocks.{found[1]}.{_IN_BLOCK[found[2]]}.{kind}"
        return f"{_SINGLE[layer]}.{kind}"

    return {name: theirs(name) for name, _ in network.named_parameters()}


def check_places(positions: Tensor | None, network: DiT) -> None:
    """Refuse fixed positions (1, N, D) that are not the network's.

    Raises:
        ArchitectureError: they are of another size, or learned.
    """
    if positions is None or network.positions.is_meta:
        return
    places = positions.to(network.positions)[0]
    if places.shape != network.positions.shape:
        side = math.isqrt(len(places)) * network.patch_size
        raise ArchitectureError(
            f"the file is of a DiT with {len(places)} patches, of images of {side} pixels, and this one has "
            f"{len(network.positions)}."
        )
    if not torch.allclose(places, network.positions, atol=2e-3):
        raise ArchitectureError("the file's positions are not the sines and cosines of DiT.")


def dit_architecture(payload: Mapping[str, Any], size: tuple[int, int]) -> Architecture:
    """The network that a state dict's shapes describe.

    Args:
        payload: tensors by their names.
        size: height and width of the data, where the file has no positions, which tell it.

    Raises:
        ArchitectureError: it is of a width that was not published, whose number of heads nothing tells.
    """
    patches, last = payload["x_embedder.proj.weight"], payload["final_layer.linear.weight"]
    channels, in_channels, patch = (int(size) for size in patches.shape[:3])
    if channels not in HEADS:
        raise ArchitectureError(
            f"the file is of a DiT of {channels} channels, and does not tell its number of heads; known is that of "
            f"{', '.join(map(str, HEADS))} channels. Write the configuration yourself."
        )
    places = int(payload[_POSITIONS].shape[1]) if _POSITIONS in payload else None
    side = 0 if places is None else math.isqrt(places) * patch
    table = payload.get("y_embedder.embedding_table.weight")
    return Architecture(
        "dit",
        {
            "in_channels": in_channels,
            "out_channels": len(last) // patch**2,
            "image_size": (side, side) if side else size,
            "patch_size": patch,
            "channels": channels,
            "depth": len({found[1] for name in payload if (found := re.match(r"blocks\.(\d+)\.", name))}),
            "num_heads": HEADS[channels],
            "expansion": len(payload["blocks.0.mlp.fc1.weight"]) // channels,
            "num_classes": None if table is None else len(table),
        },
    )


def export(network: Network, averaged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DiT's state dict of a network.

    Args:
        network: ours.
        averaged: averaged weights by our names.

    Raises:
        ArchitectureError: DiT has no such network.
    """
    if not isinstance(network, DiT):
        raise ArchitectureError(f"DiT's program has no network like {type(network).__name__}.")
    if network.rank != 2 or network.time_endpoint or not network.norm_eps == network.mlp_norm_eps == 1e-6:
        raise ArchitectureError(
            "DiT's program has this network only for images, with time_endpoint=False and norm_eps=mlp_norm_eps=1e-6."
        )
    weights = dict(network.named_parameters())
    held = {theirs: averaged.get(ours, weights[ours]) for ours, theirs in dit_names(network).items()}
    held[_POSITIONS] = network.positions[None]
    return {name: weight.detach().cpu().contiguous() for name, weight in held.items()}
