"""The diffusers family: folders (or hub ids) of a ``UNet2DModel`` or a DiT and its scheduler, both ways.

``config.json`` and ``diffusion_pytorch_model.safetensors`` (or ``.bin``) lie under ``unet/``, ``transformer/`` or at
the root, ``scheduler_config.json`` under ``scheduler/`` or at the root. Published weights are the averaged
ones; a folder has no others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from models.base import Network
from models.checkpoints.architecture import Architecture, Described
from models.checkpoints.base import Family, register_family
from models.checkpoints.diffusers_adm import (
    adm_names,
    adm_weights,
    as_adm_config,
    is_adm,
    merged,
    ordered,
    read_adm,
)
from models.checkpoints.diffusers_adm import differences as adm_differences
from models.checkpoints.diffusers_config import read_unet
from models.checkpoints.diffusers_dit import (
    as_transformer,
    is_transformer,
    read_transformer,
    transformer_weights,
)
from models.checkpoints.diffusers_folder import WEIGHTS, read_configs
from models.checkpoints.diffusers_names import as_unet, diffusers_names
from models.checkpoints.diffusers_schedule import UNTOLD, NoiseSchedule, read_schedule, told_schedule
from models.checkpoints.diffusers_settings import NO_CONFIG
from models.checkpoints.misfits import ArchitectureError
from models.networks.adm import ADM
from models.networks.dit import DiT

_MARKS = frozenset({"conv_in.weight", "time_embedding.linear_1.weight", "conv_norm_out.weight"})
# Names of attention layers in files from before diffusers 0.13, among them google's.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
# Such files may have the Fourier frequencies twice.
_FREQUENCIES, _FREQUENCIES_AGAIN = "time_proj.weight", "time_proj.W"


@dataclass(frozen=True)
class Published:
    """The contents of a diffusers folder: its network as one of ours, and its noise schedule if it has a scheduler."""

    architecture: Architecture
    schedule: NoiseSchedule | None


def describe_folder(path: str | os.PathLike[str]) -> Published:
    """The network and the noise schedule of a diffusers folder or hub id, from its configs alone.

    Raises:
        ValueError: no such folder, or a function or a process that we have not; naming the setting and why.
    """
    configs = read_configs(path)
    try:
        schedule = None if configs.scheduler is None else read_schedule(configs.scheduler)
        if is_transformer(configs.unet):
            return Published(read_transformer(configs.unet), schedule)
        return Published(_architecture(configs.unet), schedule)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@final
@register_family(name="diffusers")
class Diffusers(Family):
    """``UNet2DModel`` where its architecture is our ``ddpm``, ``ncsnpp`` or ``adm``."""

    name: ClassVar[str] = "diffusers"

    def recognises(self, payload: Any) -> bool:
        if not isinstance(payload, Mapping) or is_transformer(payload.get("unet_config", {})):
            return False
        return "unet_config" in payload or payload.keys() >= _MARKS

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """The weights under diffusers' present names; 1x1 shortcuts as matrices where ours are."""
        if "unet_config" not in payload:
            raise ValueError(NO_CONFIG)
        weights = {_present_name(name): weight for name, weight in payload["weights"].items()}
        if is_adm(payload["unet_config"]):
            return merged(weights)
        flat = not read_unet(payload["unet_config"]).skip
        again = weights.pop(_FREQUENCIES_AGAIN, None)
        if again is not None and not torch.equal(weights.setdefault(_FREQUENCIES, again), again):
            raise ValueError(f"the file's {_FREQUENCIES} and {_FREQUENCIES_AGAIN} differ; one must be wrong.")
        return {
            name: _as_matrix(weight) if flat and _is_shortcut(name) else weight
            for name, weight in weights.items()
        }

    def fitted(self, tensors: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
        return ordered(tensors, network) if isinstance(network, ADM) else tensors

    def key_map(self, network: Network) -> dict[str, str]:
        if isinstance(network, ADM):
            return adm_names(network)
        as_unet(network)
        return diffusers_names(network)

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        """Also refuses a network whose settings are not the folder's: most show in no weight."""
        if differing := _differences(network, payload["unet_config"]):
            raise ArchitectureError(
                f"the diffusers folder does not fit the network: {'; '.join(differing)}.",
                "Build the network that models.describe_folder gives.",
            )
        reasons = {"unet_config": "the network's settings, compared with the network's own"}
        if "scheduler_config" in payload:
            reasons["scheduler_config"] = "the noise schedule, which is the config's to take"
        if _FREQUENCIES_AGAIN in payload["weights"]:
            reasons[_FREQUENCIES_AGAIN] = f"{_FREQUENCIES} once more"
        return reasons

    def described(self, payload: Mapping[str, Any], size: tuple[int, int]) -> Described:
        if "unet_config" not in payload:
            raise ValueError(NO_CONFIG)
        return Described(_architecture(payload["unet_config"]), told_schedule(payload), 0.0, UNTOLD)


def _architecture(config: Mapping[str, Any]) -> Architecture:
    return read_adm(config) if is_adm(config) else read_unet(config).architecture()


def _differences(network: Network, config: Mapping[str, Any]) -> list[str]:
    """The settings that change the function and differ between a network and a folder's config."""
    if is_adm(config) != isinstance(network, ADM):
        kind = "of adm" if is_adm(config) else "of ddpm or ncsnpp"
        return [f"it is {kind}, and the network is a {type(network).__name__}"]
    if isinstance(network, ADM):
        read_adm(config)
        return adm_differences(network, config)
    theirs = read_unet(config)
    return as_unet(network, theirs.sample_size).differences(theirs)


def export_diffusers(
    network: Network,
    folder: str | os.PathLike[str],
    *,
    sample_size: tuple[int, int] | int,
    schedule: NoiseSchedule | None = None,
) -> None:
    """Write ``network`` as a folder that ``from_pretrained`` of ``UNet2DModel`` or a DiT loads.

    Args:
        network: our ``ddpm``, ``ncsnpp``, ``adm`` or ``dit``, with the weights to publish.
        folder: made where it does not exist; files of an earlier export are overwritten.
        sample_size: of the data, which the network does not know: one int for a square.
        schedule: written as a scheduler's config beside it.

    Raises:
        ValueError: diffusers has no such network; naming the setting that it lacks.
    """
    from safetensors.torch import save_file

    size = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
    if isinstance(network, DiT):
        config, weights = as_transformer(network), transformer_weights(network)
    elif isinstance(network, ADM):
        config, weights = as_adm_config(network, size), adm_weights(network)
    else:
        config = dict(as_unet(network, size).config())
        names, parameters = diffusers_names(network), dict(network.named_parameters())
        weights = {theirs: _as_conv(theirs, parameters[ours]) for ours, theirs in names.items()}
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    save_file(weights, home / WEIGHTS[0], metadata={"format": "pt"})
    _write(home / "config.json", config)
    if schedule is not None:
        _write(home / "scheduler_config.json", schedule.config())


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _present_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    head, _, last = layer.rpartition(".")
    return f"{head}.{_RENAMED[last]}.{kind}" if ".attentions." in name and last in _RENAMED else name


def _is_shortcut(name: str) -> bool:
    return name.endswith("conv_shortcut.weight")


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1) if weight.shape[2:] == (1, 1) else weight


def _as_conv(name: str, weight: Tensor) -> Tensor:
    weight = weight.detach().cpu().contiguous()
    return weight[:, :, None, None] if _is_shortcut(name) and weight.ndim == 2 else weight
