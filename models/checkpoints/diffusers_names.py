"""diffusers' names for the parameters of our networks, and our networks as its ``UNet2DModel``."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from models.base import Network, register_model
from models.blocks.block import Level
from models.blocks.embeddings import NumberEmbedding, Told, VectorEmbedding
from models.blocks.fir import fir_kernel
from models.blocks.pyramid import Readout
from models.blocks.resample import Downsample, Upsample
from models.blocks.residual import ResBlock
from models.checkpoints.diffusers_config import UNet2D, Variant
from models.checkpoints.misfits import ArchitectureError
from models.networks.ddpm import DDPM
from models.networks.ncsnpp import NCSNpp

_SINGLE = {
    "input_conv": "conv_in",
    "time_embedding.dense_in": "time_embedding.linear_1",
    "time_embedding.dense_out": "time_embedding.linear_2",
    "class_embedding.table": "class_embedding",
    "class_embedding.dense_in": "class_embedding.linear_1",
    "class_embedding.dense_out": "class_embedding.linear_2",
    "fourier": "time_proj",
    "output_norm": "conv_norm_out",
    "output_conv": "conv_out",
}
_MIDDLE = {
    "middle.block_in": "resnets.0",
    "middle.attention": "attentions.0",
    "middle.block_out": "resnets.1",
    "middle_in": "resnets.0",
    "middle_attention": "attentions.0",
    "middle_out": "resnets.1",
}
_BLOCK = {
    "norm_in": "norm1",
    "conv_in": "conv1",
    "time_proj": "time_emb_proj",
    "norm_out": "norm2",
    "conv_out": "conv2",
    "shortcut": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
_INNER = _BLOCK | _ATTENTION
_MIDDLE_PART = re.compile(r"(middle(?:\.block_in|\.attention|\.block_out|_in|_attention|_out))\.(\w+)")
_PART = re.compile(r"(down|up)\.(\d+)\.(blocks|attentions)\.(\d+)\.(\w+)")
_RESAMPLE = re.compile(r"(down|up)\.(\d+)\.resample\.(\w+)")
_PYRAMID = re.compile(r"(down|up)\.(\d+)\.pyramid\.(norm|conv)")


def diffusers_names(network: Network) -> dict[str, str]:
    """Our parameter names -> diffusers', for a network that ``as_unet`` accepts."""
    names = [name for name, _ in network.named_parameters()]
    last_up = max(
        (int(found[2]) for name in names if (found := _PART.match(name)) and found[1] == "up"), default=0
    )
    attentions: dict[tuple[str, str], list[str]] = {}  # of each level, in their order
    for name in names:
        if (found := _PART.match(name)) and found[3] == "attentions":
            held = attentions.setdefault((found[1], found[2]), [])
            if found[4] not in held:
                held.append(found[4])

    def theirs(layer: str) -> str:
        if layer in _SINGLE:
            return _SINGLE[layer]
        if found := _MIDDLE_PART.fullmatch(layer):
            return f"mid_block.{_MIDDLE[found[1]]}.{_INNER[found[2]]}"
        if found := _PART.fullmatch(layer):
            half, level, kind, number, part = found.groups()
            if kind == "blocks":
                return f"{half}_blocks.{level}.resnets.{number}.{_BLOCK[part]}"
            order = attentions[half, level].index(number)
            return f"{half}_blocks.{level}.attentions.{order}.{_ATTENTION[part]}"
        if found := _RESAMPLE.fullmatch(layer):
            half, level, part = found.groups()
            if part == "conv":
                return f"{half}_blocks.{level}.{half}samplers.0.conv"
            return f"{half}_blocks.{level}.resnet_{half}.{_BLOCK[part]}"
        if found := _PYRAMID.fullmatch(layer):
            half, level, part = found.groups()
            if half == "up" and int(level) == last_up:  # the end of the pyramid is the network's output
                return {"norm": "conv_norm_out", "conv": "conv_out"}[part]
            return f"{half}_blocks.{level}.skip_{part}"
        raise AssertionError(f"as_unet must refuse a network with {layer}")

    split = {name: name.rpartition(".") for name in names}
    return {name: f"{theirs(layer)}.{kind}" for name, (layer, _, kind) in split.items()}


@functools.singledispatch
def as_unet(network: Network, sample_size: tuple[int, int] | None = None) -> UNet2D:
    """Our network as a ``UNet2DModel`` of the same function.

    A network does not know the size of its data: ``sample_size`` says it, None the smallest that runs.

    Raises:
        ValueError: diffusers' class has no such network; naming the setting that it lacks.
    """
    raise ArchitectureError(
        f"diffusers' UNet2DModel has no network like {type(network).__name__} (it has ddpm and ncsnpp; "
        f"registered here: {', '.join(register_model)})."
    )


@as_unet.register
def _ddpm(network: DDPM, sample_size: tuple[int, int] | None = None) -> UNet2D:
    down = list(network.down)
    attends = tuple(level.attends for level in down)
    _need(network.attention_after_every_up_block or not any(attends), "attention_after_every_up_block=True")
    _need(all(m.conv is not None for m in network.modules() if _resamples(m)), "resample_with_conv=True")
    _need(network.sigmas is None, "scale_by_sigma=False")
    unet = _unet(
        network, network.output_conv, _blocks(down), sample_size, skip=False, fourier=False, attends=attends
    )
    variant = Variant(
        head_channels=network.head_channels,
        padding=0 if network.downsample_padding == "behind" else 1,
        norm_eps=network.norm_eps,
        cosines_first=network.time_cosines_first,
        freq_shift=1 if network.time_endpoint else 0,
        told=_told(network),
    )
    return replace(unet, variant=variant)


@as_unet.register
def _ncsnpp(network: NCSNpp, sample_size: tuple[int, int] | None = None) -> UNet2D:
    fourier = network.fourier is not None
    _need(network.progressive == "output_skip", "progressive='output_skip'")
    _need(network.progressive_input == "input_skip", "progressive_input='input_skip'")
    down = list(network.down)
    _need(not any(getattr(level.pyramid, "cat", False) for level in down), "progressive_combine='sum'")
    _need(network.skip_rescale, "skip_rescale=True")
    _need(all(isinstance(level.resample, ResBlock | None) for level in down), "resblock='biggan'")
    taps = fir_kernel((1, 3, 3, 1), 2)
    _need(all(_same(m.kernel, taps) for m in network.modules() if _resamples(m)), "fir_kernel=(1, 3, 3, 1)")
    _need(network.scale_by_sigma == fourier, "scale_by_sigma with the Fourier embedding, and only with it")
    attends = tuple(level.attends for level in down)
    end = list(network.up)[-1].pyramid
    assert isinstance(end, Readout)
    unet = _unet(network, end.conv, _blocks(down), sample_size, skip=True, fourier=fourier, attends=attends)
    _need(unet.in_channels == unet.out_channels == 3, "3 channels: its pyramids are RGB")
    return unet


def _unet(
    network: DDPM | NCSNpp,
    output: nn.Module,
    blocks: list[list[ResBlock]],
    size: tuple[int, int] | None,
    *,
    skip: bool,
    fourier: bool,
    attends: tuple[bool, ...],
) -> UNet2D:
    _need(network.rank == 2, "images: it has no networks of other ranks")
    _need(network.time_embedding is not None, "conditional=True")
    _need(isinstance(network.act, nn.SiLU), "nonlinearity='swish'")
    first = [level[0] for level in blocks]
    assert isinstance(output, nn.Conv2d)
    table = getattr(network.class_embedding, "table", None)
    return UNet2D(
        skip=skip,
        sample_size=size or (network.factor, network.factor),
        in_channels=network.in_channels,
        out_channels=output.out_channels,
        centered=network.centered,
        fourier=fourier,
        widths=tuple(_width(block) for block in first),
        attends=attends,
        layers=len(blocks[0]),
        dropout=first[0].dropout.p,
        num_classes=table.num_embeddings if isinstance(table, nn.Embedding) else None,
    )


def _told(network: DDPM) -> Told:
    """What the network is told beside the time."""
    kinds: dict[type, Told] = {NumberEmbedding: "number", VectorEmbedding: "vector"}
    return kinds.get(type(network.class_embedding), "class")


def _blocks(levels: Sequence[Level]) -> list[list[ResBlock]]:
    return [[block for block in level.blocks if isinstance(block, ResBlock)] for level in levels]


def _width(block: ResBlock) -> int:
    assert isinstance(block.layers.conv_in, nn.Conv2d)
    return block.layers.conv_in.out_channels


def _resamples(module: nn.Module) -> bool:
    return isinstance(module, Downsample | Upsample)


def _same(kernel: object, taps: torch.Tensor) -> bool:
    if not isinstance(kernel, torch.Tensor) or kernel.shape != taps.shape:
        return False
    return kernel.is_meta or torch.equal(kernel.cpu(), taps.cpu())


def _need(holds: bool, what: str) -> None:
    if not holds:
        raise ArchitectureError(f"diffusers' UNet2DModel has this network only with {what}.")
