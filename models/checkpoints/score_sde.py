"""score_sde_pytorch's ``checkpoint_N.pth``: layers by position, averaged weights as a list.

``{"optimizer", "model", "ema", "step"}``. ``model`` is a state dict, usually with DataParallel's
``module.`` in front, whose layers are ``all_modules.<position>``; ``ema["shadow_params"]`` is a list of
the trainable parameters, in the state dict's order without the buffers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from models.attention import Attention
from models.base import Network, register_model
from models.checkpoints.base import Family, register_family
from models.ddpm import DDPM
from models.embeddings import GaussianFourier
from models.layers import Pointwise, ResBlock
from models.resample import Downsample, Upsample

_BUFFER = "sigmas"
# The Fourier features' frequencies: a parameter that is not trained, hence not averaged.
_FROZEN = re.compile(r"all_modules\.\d+\.W")
# The ancestor's pointwise layers multiply from the right: (in, out).
_TRANSPOSED = re.compile(r".*\.NIN_\d\.W")


@final
@register_family(name="score_sde")
class ScoreSDE(Family):
    """Checkpoints of score_sde_pytorch (Song et al. 2021), for the networks that ``layer_order`` knows."""

    name: ClassVar[str] = "score_sde"

    def recognises(self, payload: Mapping[str, Any]) -> bool:
        model = payload.get("model")
        return isinstance(model, Mapping) and any("all_modules." in name for name in model)

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """The weights; pointwise matrices turned to (out, in), as ours are."""
        weights = _raw(payload)
        if ema:
            weights |= _averaged(payload, weights)
        return {name: to_ours(name, weight) for name, weight in weights.items()}

    def key_map(self, network: Network) -> dict[str, str]:
        names: dict[str, str] = {}
        prefixes = {module: name for name, module in network.named_modules()}
        for position, layer in enumerate(layer_order(network)):
            for ours, theirs in parameter_names(layer):
                names[f"{prefixes[layer]}.{ours}"] = f"all_modules.{position}.{theirs}"
        return names

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        other = (
            "raw weights, the averaged ones are used" if ema else "averaged weights, the raw ones are used"
        )
        _check_sigmas(payload["model"], network)
        reasons = {
            "optimizer": "the optimizer's state is no weight",
            "step": "the number of training steps, reported apart",
            "model" if ema else "ema": other,
            f"model.{_BUFFER}": "a table that follows from the config",
        }
        reasons = {name: reason for name, reason in reasons.items() if _holds(payload, name)}
        if all(block.time_proj is None for block in network.modules() if isinstance(block, ResBlock)):
            # The ancestor builds these layers all the same, and never calls them.
            untold = "time projection of an unconditional network"
            reasons |= {name: untold for name in _raw(payload) if ".Dense_0." in name}
        return reasons


def _holds(payload: Mapping[str, Any], name: str) -> bool:
    head, _, rest = name.partition(".")
    if not rest:
        return head in payload
    return any(key.removeprefix("module.") == rest for key in payload[head])


def _check_sigmas(model: Mapping[str, Tensor], network: Network) -> None:
    """Refuse a table of noise levels other than the network's: its output would be scaled wrongly."""
    theirs = next((table for name, table in model.items() if name.removeprefix("module.") == _BUFFER), None)
    ours = getattr(network, _BUFFER, None)
    if theirs is None or ours is None:
        return
    if theirs.shape != ours.shape or not torch.allclose(theirs.to(ours), ours, rtol=1e-4):
        raise ValueError(
            f"the score_sde checkpoint was trained with {len(theirs)} noise levels from {float(theirs[0]):g} to "
            f"{float(theirs[-1]):g}, the network has {len(ours)} from {float(ours[0]):g} to {float(ours[-1]):g}; "
            "set sigma_min, sigma_max and num_scales as it was trained."
        )


def _raw(payload: Mapping[str, Any]) -> dict[str, Tensor]:
    names = {name.removeprefix("module."): weight for name, weight in payload["model"].items()}
    names.pop(_BUFFER, None)
    return names


def _averaged(payload: Mapping[str, Any], raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights by name: the list is matched with the trainable names, one by one."""
    ema = payload.get("ema")
    if not isinstance(ema, Mapping) or not isinstance(ema.get("shadow_params"), list | tuple):
        raise ValueError(
            "the score_sde checkpoint has no averaged weights (ema.shadow_params); load the raw ones with ema=False."
        )
    shadow = ema["shadow_params"]
    trainable = [name for name in raw if not _FROZEN.fullmatch(name)]
    if len(shadow) != len(trainable):
        raise ValueError(
            f"the score_sde checkpoint lists {len(shadow)} averaged weights for {len(trainable)} trainable "
            "parameters, so they cannot be told apart; load the raw ones with ema=False."
        )
    for name, average in zip(trainable, shadow, strict=True):
        if average.shape != raw[name].shape:
            raise ValueError(
                f"the score_sde checkpoint's averaged weights are out of order: {name} is {tuple(raw[name].shape)}, "
                f"the average in its place {tuple(average.shape)}; load the raw ones with ema=False."
            )
    return dict(zip(trainable, shadow, strict=True))


def to_ours(name: str, weight: Tensor) -> Tensor:
    """A weight of the ancestor's in our orientation; its own inverse."""
    return weight.T if _TRANSPOSED.fullmatch(name) else weight


@functools.singledispatch
def layer_order(network: Network) -> Iterator[nn.Module]:
    """Our layers in the order of the ancestor's ``all_modules``; register a network to give it one.

    Raises:
        ValueError: the ancestor has no such network.
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
    if network.time_embedding is not None:
        yield network.time_embedding.dense_in
        yield network.time_embedding.dense_out
    yield network.input_conv
    for level in network.levels(network.down):
        yield from level.layers()
    yield network.middle.block_in
    yield network.middle.attention
    yield network.middle.block_out
    for level in network.levels(network.up):
        yield from level.layers()
    yield network.output_norm
    yield network.output_conv


@functools.singledispatch
def parameter_names(layer: nn.Module) -> Iterator[tuple[str, str]]:
    """(our name, the ancestor's) of each parameter inside one layer, in the ancestor's order."""
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
def _attention(layer: Attention) -> Iterator[tuple[str, str]]:
    yield from _below("norm", "GroupNorm_0", layer.norm)
    for number, name in enumerate(("query", "key", "value", "out")):
        yield f"{name}.weight", f"NIN_{number}.W"
        yield f"{name}.bias", f"NIN_{number}.b"


@parameter_names.register
def _block(layer: ResBlock) -> Iterator[tuple[str, str]]:
    yield from _below("norm_in", "GroupNorm_0", layer.norm_in)
    yield from _below("conv_in", "Conv_0", layer.conv_in)
    if layer.time_proj is not None:
        yield from _below("time_proj", "Dense_0", layer.time_proj)
    yield from _below("norm_out", "GroupNorm_1", layer.norm_out)
    yield from _below("conv_out", "Conv_1", layer.conv_out)
    if layer.shortcut is not None:
        theirs = "NIN_0" if isinstance(layer.shortcut, Pointwise) else "Conv_2"
        yield from _below("shortcut", theirs, layer.shortcut)


@parameter_names.register(Downsample)
@parameter_names.register(Upsample)
def _resample(layer: Downsample | Upsample) -> Iterator[tuple[str, str]]:
    if layer.conv is not None:
        yield from _below("conv", "Conv_0" if layer.kernel is None else "Conv2d_0", layer.conv)
