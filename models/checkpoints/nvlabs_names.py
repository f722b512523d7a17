"""NVlabs' names for the parameters of our networks: levels by their number, where the files have resolutions."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from torch import nn

from models.base import Network
from models.blocks.residual import ResBlock
from models.checkpoints.misfits import ArchitectureError
from models.networks.adm import ADM
from models.networks.edm2 import EDM2
from models.networks.ncsnpp import NCSNpp
from models.networks.preconditioned import Preconditioned

_RESOLUTION = re.compile(r"\.(enc|dec)\.(\d{1,6})x\d{1,6}_")
_RES = dict(zip(("norm_in", "conv_in", "time_proj", "norm_out", "conv_out", "shortcut"),
                ("norm0", "conv0", "affine", "norm1", "conv1", "skip"), strict=True))  # fmt: skip
_ADM_RES = dict(zip(("norm1", "conv1", "emb", "norm2", "conv2", "skip"), _RES.values(), strict=True))
_ATTENTION = {"norm": "norm2", "query": "qkv.0", "key": "qkv.1", "value": "qkv.2", "out": "proj"}
_ADM_ATTENTION = {"norm": "norm2", "qkv": "qkv", "proj": "proj"}
_MP = {
    "conv_in": "conv_res0", "embedding": "emb_linear", "gain": "emb_gain", "conv_out": "conv_res1",
    "shortcut": "conv_skip", "attention.qkv": "attn_qkv", "attention.proj": "attn_proj",
}  # fmt: skip
_SONG_SINGLE = {
    "fourier.weight": "map_noise.freqs",
    "time_embedding.dense_in": "map_layer0",
    "time_embedding.dense_out": "map_layer1",
    "augment_embedding": "map_augment",
    "class_features.linear": "map_label",
    "input_conv": "enc.0.conv",
    "readout.norm": "dec.0.aux_norm",
    "readout.conv": "dec.0.aux_conv",
}
_ADM_SINGLE = {
    "time_embed.linear1": "map_layer0",
    "time_embed.linear2": "map_layer1",
    "augment_embed": "map_augment",
    "label_embed": "map_label",
    "conv_in": "enc.0.conv",
    "norm_out": "out_norm",
    "conv_out": "out_conv",
}
_EDM2_SINGLE = {
    "fourier": "emb_fourier",
    "time_embedding": "emb_noise",
    "class_embedding": "emb_label",
    "conv_in": "enc.0.conv",
    "conv_out": "out_conv",
    "gain": "out_gain",
}
_BESIDE_EDM2 = {"error_fourier": "logvar_fourier", "error": "logvar_linear"}

Part = tuple[str, str]
"""A module of ours within the network, and theirs."""


def by_level(name: str, resolution: int) -> str:
    """A name of theirs, with the number of the level in place of its resolution."""
    return _RESOLUTION.sub(lambda m: f".{m[1]}.{(resolution // max(int(m[2]), 1)).bit_length() - 1}.", name)


def nvlabs_names(network: Network) -> dict[str, str]:
    """Our parameter names -> theirs, for a preconditioned network.

    Raises:
        ArchitectureError: they have no such network.
    """
    if not isinstance(network, Preconditioned):
        raise ArchitectureError(
            f"NVlabs' files are of networks in a preconditioning, and {type(network).__name__} has none: set "
            f"model.preconditioning to edm, edm_vp, edm_ve or edm_iddpm."
        )
    found = []
    for ours, theirs in _modules(network.network):
        found.append((f"network.{ours}", theirs))
    names = {}
    for name, _ in network.named_parameters():
        held = next(((o, t) for o, t in found if name == o or name.startswith(f"{o}.")), None)
        if held is None:
            raise ArchitectureError(
                f"NVlabs' programs have no network with {type(network.network).__name__}'s parameter {name!r}; their "
                "files load into edm_ddpmpp, edm_ncsnpp, edm_adm and edm2."
            )
        names[name] = held[1] + name.removeprefix(held[0])
    return names


@functools.singledispatch
def _modules(network: nn.Module) -> list[Part]:
    """The modules with parameters, ours and theirs."""
    return []


@_modules.register
def _song(network: NCSNpp) -> list[Part]:
    def parts() -> Iterator[Part]:
        last = len(network.down) - 1
        for level, held in enumerate(network.down):
            yield from _level(f"down.{level}", f"enc.{level}", len(held.blocks))
            yield from _parts(f"down.{level}.resample", f"enc.{level + 1}.down", _RES)
            yield f"down.{level}.pyramid.conv", f"enc.{level + 1}.aux_residual"
        yield from _parts("middle_in", f"dec.{last}.in0", _RES)
        yield from _parts("middle_attention", f"dec.{last}.in0", _ATTENTION)
        yield from _parts("middle_out", f"dec.{last}.in1", _RES)
        for place, held in enumerate(network.up):
            level = last - place
            yield from _level(f"up.{place}", f"dec.{level}", len(held.blocks))
            yield from _parts(f"up.{place}.resample", f"dec.{level - 1}.up", _RES)

    return _inside("model", [*_SONG_SINGLE.items(), *parts()])


def _level(ours: str, theirs: str, blocks: int) -> Iterator[Part]:
    for i in range(blocks):
        yield from _parts(f"{ours}.blocks.{i}", f"{theirs}.block{i}", _RES)
        yield from _parts(f"{ours}.attentions.{i}", f"{theirs}.block{i}", _ATTENTION)


@_modules.register
def _adm(network: ADM) -> list[Part]:
    def parts() -> Iterator[Part]:
        level = block = 0
        for place, stage in enumerate(network.encoder):
            if hasattr(stage, "res"):
                yield from _stage(f"encoder.{place}", f"enc.{level}.block{block}")
                block += 1
            else:
                level, block = level + 1, 0
                yield from _parts(f"encoder.{place}.resample", f"enc.{level}.down", _ADM_RES)
        yield from _stage("middle", f"dec.{level}.in0", res="res1")
        yield from _parts("middle.res2", f"dec.{level}.in1", _ADM_RES)
        block = 0
        for place, stage in enumerate(network.decoder):
            yield from _stage(f"decoder.{place}", f"dec.{level}.block{block}")
            block += 1
            if hasattr(stage, "resample"):
                level, block = level - 1, 0
                yield from _parts(f"decoder.{place}.resample", f"dec.{level}.up", _ADM_RES)

    resampling = [module for name, module in network.named_modules() if name.endswith(".resample")]
    if not all(isinstance(module, ResBlock) or not list(module.parameters()) for module in resampling):
        return []
    return _inside("model", [*_ADM_SINGLE.items(), *parts()])


def _stage(ours: str, theirs: str, res: str = "res") -> Iterator[Part]:
    yield from _parts(f"{ours}.{res}", theirs, _ADM_RES)
    yield from _parts(f"{ours}.attention", theirs, _ADM_ATTENTION)


@_modules.register
def _edm2(network: EDM2) -> list[Part]:
    def parts() -> Iterator[Part]:
        levels = network.factor.bit_length()
        blocks = (len(network.down) - (levels - 1)) // levels
        order = [
            f"enc.{level}.{name}" for level in range(levels) for name in _in_level(level, "down", blocks)
        ]
        for place, theirs in enumerate(order):
            yield from _parts(f"down.{place}", theirs, _MP)
        last = levels - 1
        order = [f"dec.{last}.in0", f"dec.{last}.in1"]
        for level in reversed(range(levels)):
            order += [f"dec.{level}.{name}" for name in _in_level(last - level, "up", blocks + 1)]
        for place, theirs in enumerate(order):
            yield from _parts(f"up.{place}", theirs, _MP)

    return [*_BESIDE_EDM2.items(), *_inside("unet", [*_EDM2_SINGLE.items(), *parts()])]


def _in_level(level: int, resampling: str, blocks: int) -> list[str]:
    return [*([resampling] if level else []), *(f"block{i}" for i in range(blocks))]


def _parts(ours: str, theirs: str, names: dict[str, str]) -> Iterator[Part]:
    for part, name in names.items():
        yield f"{ours}.{part}", f"{theirs}.{name}"


def _inside(module: str, parts: Iterable[Part]) -> list[Part]:
    return [(ours, f"{module}.{theirs}") for ours, theirs in parts]
