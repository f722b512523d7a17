"""score_sde_pytorch's names for our layers: positions in ``all_modules`` and what stands inside each."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from torch import nn

from models.base import Network, register_model
from models.blocks.attention import SingleHeadAttention
from models.blocks.convolution import Pointwise
from models.blocks.embeddings import GaussianFourier
from models.blocks.pyramid import Combine, Readout
from models.blocks.resample import Downsample, Upsample
from models.blocks.residual import ResBlock
from models.networks.ddpm import DDPM
from models.networks.ncsnpp import NCSNpp


def score_sde_names(network: Network) -> dict[str, str]:
    """Our parameter names -> score_sde's, in the order of score_sde's ``model.parameters()``.

    Raises:
        ValueError: score_sde has no such network.
    """
    prefixes = {module: name for name, module in network.named_modules()}
    return {
        f"{prefixes[layer]}.{ours}": f"all_modules.{position}.{theirs}"
        for position, layer in enumerate(layer_order(network))
        for ours, theirs in parameter_names(layer)
    }


@functools.singledispatch
def layer_order(network: Network) -> Iterator[nn.Module]:
    """Our layers in the order of score_sde's ``all_modules``; register a network to give it one.

    Raises:
        ValueError: score_sde has no such network.
    """
    raise ValueError(
        f"the score_sde family has no network like {type(network).__name__} "
        f"(it has ddpm, ncsnpp and ddpmpp; registered here: {', '.join(register_model)}); "
        "choose the model that the file was trained as."
    )


@layer_order.register
def _ddpm(network: DDPM) -> Iterator[nn.Module]:
    if network.class_embedding is not None or network.attention_after_every_up_block:
        raise ValueError(
            "score_sde_pytorch's ddpm has neither classes nor attention after every up block; "
            "build the network without num_classes and attention_after_every_up_block."
        )
    theirs = ("behind", 1e-6, False, True)
    ours = (network.downsample_padding, network.norm_eps, network.time_cosines_first, network.time_endpoint)
    if ours != theirs or network.head_channels is not None:
        raise ValueError(
            "score_sde_pytorch's ddpm has one head, pads behind, has norm_eps 1e-6, and the sines first; build the "
            "network without head_channels, downsample_padding, norm_eps, time_cosines_first and time_endpoint."
        )
    if network.time_embedding is not None:
        yield from (layer for layer in network.time_embedding if isinstance(layer, nn.Linear))
    yield network.input_conv
    for level in network.down:
        yield from level.layers()
        if level.resample is not None:
            yield level.resample
    yield network.middle.block_in
    yield network.middle.attention
    yield network.middle.block_out
    for level in network.up:
        yield from level.layers()
        if level.resample is not None:
            yield level.resample
    yield network.output_norm
    yield network.output_conv


@layer_order.register
def _ncsnpp(network: NCSNpp) -> Iterator[nn.Module]:
    if network.class_embedding is not None:
        raise ValueError("score_sde_pytorch's ncsnpp has no classes; build the network without num_classes.")
    if network.fourier is not None:
        yield network.fourier
    if network.time_embedding is not None:
        yield from (layer for layer in network.time_embedding if isinstance(layer, nn.Linear))
    yield network.input_conv
    for level in network.down:
        yield from level.layers()
        yield from (layer for layer in (level.resample, level.pyramid) if layer is not None)
    yield network.middle_in
    yield network.middle_attention
    yield network.middle_out
    for level in network.up:
        yield from level.layers()
        yield from _readout(level.pyramid)
        if level.resample is not None:
            yield level.resample
    yield from _readout(network.readout)


def _readout(layer: nn.Module | None) -> Iterator[nn.Module]:
    """score_sde counts a readout's two layers apart."""
    if isinstance(layer, Readout):
        yield layer.norm
        yield layer.conv
    elif layer is not None:
        yield layer


@functools.singledispatch
def parameter_names(layer: nn.Module) -> Iterator[tuple[str, str]]:
    """(our name, score_sde's) of each parameter inside one layer, in score_sde's order."""
    yield "weight", "weight"
    yield "bias", "bias"


def _below(ours: str, theirs: str, layer: nn.Module) -> Iterator[tuple[str, str]]:
    for mine, other in parameter_names(layer):
        yield f"{ours}.{mine}", f"{theirs}.{other}"


@parameter_names.register
def _pointwise(layer: Pointwise) -> Iterator[tuple[str, str]]:
    yield "weight", "W"
    yield "bias", "b"


@parameter_names.register
def _fourier(layer: GaussianFourier) -> Iterator[tuple[str, str]]:
    yield "weight", "W"


@parameter_names.register
def _attention(layer: SingleHeadAttention) -> Iterator[tuple[str, str]]:
    yield from _below("norm", "GroupNorm_0", layer.norm)
    for number, name in enumerate(("query", "key", "value", "out")):
        yield f"{name}.weight", f"NIN_{number}.W"
        yield f"{name}.bias", f"NIN_{number}.b"


@parameter_names.register
def _block(layer: ResBlock) -> Iterator[tuple[str, str]]:
    layers, names = layer.layers, layer.names
    yield from _below(names.norm_in, "GroupNorm_0", layers.norm_in)
    yield from _below(names.conv_in, "Conv_0", layers.conv_in)
    if layers.embedding is not None:
        yield from _below(names.embedding, "Dense_0", layers.embedding)
    yield from _below(names.norm_out, "GroupNorm_1", layers.norm_out)
    yield from _below(names.conv_out, "Conv_1", layers.conv_out)
    if layers.shortcut is not None:
        theirs = "NIN_0" if isinstance(layers.shortcut, Pointwise) else "Conv_2"
        yield from _below(names.shortcut, theirs, layers.shortcut)


@parameter_names.register(Downsample)
@parameter_names.register(Upsample)
def _resample(layer: Downsample | Upsample) -> Iterator[tuple[str, str]]:
    if layer.conv is not None:
        yield from _below("conv", "Conv_0" if layer.kernel is None else "Conv2d_0", layer.conv)


@parameter_names.register
def _combine(layer: Combine) -> Iterator[tuple[str, str]]:
    yield from _below("conv", "Conv_0", layer.conv)
