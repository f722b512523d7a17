"""Reading a diffusers model from its folder, or from the hub by its id."""

from __future__ import annotations

import json
import os
import re
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


def read_folder(path: str | os.PathLike[str]) -> dict[str, Any]:
    """``{"unet_config", "weights", "scheduler_config"}`` of a folder or hub id; the last None where absent.

    Raises:
        ValueError: no config or weights in it, or the hub cannot be asked.
    """
    folder = local_folder(path)
    config = _find(folder, "unet", "config.json")
    if config is None:
        raise ValueError(
            f"{path} is no diffusers model: it has neither unet/config.json nor config.json. "
            "Give one file of weights, or a folder that diffusers wrote."
        )
    weights = next((config.parent / name for name in WEIGHTS if (config.parent / name).is_file()), None)
    if weights is None:
        raise ValueError(
            f"{config.parent} has none of {', '.join(WEIGHTS)}; where its weights are in several shards, load it "
            "with diffusers and write it in one with save_pretrained(folder, max_shard_size='100GB')."
        )
    scheduler = _find(folder, "scheduler", "scheduler_config.json")
    return {
        "unet_config": _json(config),
        "weights": read_payload(weights),
        "scheduler_config": None if scheduler is None else _json(scheduler),
    }


def read_configs(path: str | os.PathLike[str]) -> dict[str, Any]:
    """``read_folder`` without the weights."""
    folder = local_folder(path)
    found = {"unet_config": ("unet", "config.json"), "scheduler_config": ("scheduler", "scheduler_config.json")}
    files = {name: _find(folder, *where) for name, where in found.items()}
    return {name: None if file is None else _json(file) for name, file in files.items()}


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
            fetched = Path(snapshot_download(os.fspath(path), allow_patterns=[*configs, name, f"unet/{name}"]))
            if _find(fetched, "unet", name) is not None:
                break
    except Exception as error:
        # The client raises some twenty types, of three libraries, for a missing model and a missing network.
        raise ValueError(
            f"{path} is no folder here, and fetching it from the hub failed: check the id and the connection, or "
            f"download it and give the folder. ({type(error).__name__}: {str(error).strip().splitlines()[0]})"
        ) from error
    return fetched


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
