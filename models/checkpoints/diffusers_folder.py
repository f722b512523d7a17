"""Reading a diffusers model from its folder, or from the hub by its id."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoints.reader import read_payload

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE = re.compile(r".*\.(pt|pth|ckpt|bin|safetensors|npz|json)", re.IGNORECASE)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` names a folder, or a model of the hub (``owner/name``), rather than a file."""
    name = os.fspath(path)
    return Path(name).is_dir() or (
        not Path(name).exists() and bool(_HUB_ID.fullmatch(name)) and not _FILE.fullmatch(name)
    )


@dataclass(frozen=True)
class Configs:
    """The parsed configs of a folder, and where its weights lie."""

    unet: Mapping[str, Any]
    scheduler: Mapping[str, Any] | None
    home: Path


def read_configs(path: str | os.PathLike[str]) -> Configs:
    """The configs of a folder or hub id, under ``unet/`` and ``scheduler/`` or at its root.

    Raises:
        ValueError: no network config in it, or the hub cannot be asked.
    """
    folder = local_folder(path)
    unet, scheduler = (
        _find(folder, "unet", "config.json"),
        _find(folder, "scheduler", "scheduler_config.json"),
    )
    if unet is None:
        raise ValueError(
            f"{path} is a folder, but no diffusers model: it has neither unet/config.json nor config.json. "
            "Give one file of weights, or a folder that diffusers wrote."
        )
    return Configs(_json(unet), None if scheduler is None else _json(scheduler), unet.parent)


def read_folder(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The payload of the diffusers family: ``unet_config``, ``weights`` and, if any, ``scheduler_config``.

    Raises:
        ValueError: no config or no weights in the folder, weights that cannot be read safely, or no hub.
    """
    configs = read_configs(path)
    weights = next((configs.home / name for name in WEIGHTS if (configs.home / name).is_file()), None)
    if weights is None:
        raise ValueError(
            f"{configs.home} has none of {', '.join(WEIGHTS)}; where its weights are in several shards, load "
            "it with diffusers and write it in one with save_pretrained(folder, max_shard_size='100GB')."
        )
    scheduler = {} if configs.scheduler is None else {"scheduler_config": configs.scheduler}
    return {"unet_config": configs.unet, "weights": read_payload(weights), **scheduler}


def local_folder(path: str | os.PathLike[str]) -> Path:
    """The folder itself, or the hub's files of that id in its cache here.

    Raises:
        ValueError: the hub's client is not installed, or the hub has no such model or is out of reach.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"{path} is no folder here; to fetch it from the hub: pip install 'score-pc[hub]'."
        ) from None
    configs = ["config.json", "scheduler_config.json", "unet/config.json", "scheduler/scheduler_config.json"]
    try:
        for name in WEIGHTS:
            fetched = Path(
                snapshot_download(os.fspath(path), allow_patterns=[*configs, name, f"unet/{name}"])
            )
            if _find(fetched, "unet", name) is not None:
                break
    except Exception as error:
        # The client raises some twenty types, of three libraries, for a missing model or network.
        raise ValueError(
            f"{path} is no folder here, and fetching it from the hub failed: check the id and the "
            f"connection, or download it and give the folder. ({type(error).__name__}: {_first_line(error)})"
        ) from error
    return fetched


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no message")


def _find(folder: Path, part: str, name: str) -> Path | None:
    return next((file for file in (folder / part / name, folder / name) if file.is_file()), None)


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; a diffusers config is an object.")
    return content
