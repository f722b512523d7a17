"""Reading a diffusers model from its folder, or from the hub by its id."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoints.reader import read_payload

NETWORKS = ("unet", "transformer")
"""Folders of a pipeline that a network may be in."""
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
INDICES = (
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.bin.index.json",
)
"""Lists of weights that are in several files: which file has which name."""
_SHARDS = "*-of-*"
_WANTED = (
    (WEIGHTS[0], ()),
    (INDICES[0], (f"{_SHARDS}.safetensors",)),
    (WEIGHTS[1], ()),
    *((name, (f"{_SHARDS}.bin",)) for name in INDICES[1:]),
)
"""What is fetched from the hub, in this order until one is there: a file, and further files with it."""
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
    """The configs of a folder or hub id, under ``unet/`` or ``transformer/``, and ``scheduler/``, or at its root.

    Raises:
        ValueError: no network config in it, or the hub cannot be asked.
    """
    folder = local_folder(path)
    unet, scheduler = (
        _find(folder, NETWORKS, "config.json"),
        _find(folder, ("scheduler",), "scheduler_config.json"),
    )
    if unet is None:
        raise ValueError(
            f"{path} is a folder, but no diffusers model: it has neither unet/config.json nor transformer/config.json "
            "nor config.json. "
            "Give one file of weights, or a folder that diffusers wrote."
        )
    return Configs(_json(unet), None if scheduler is None else _json(scheduler), unet.parent)


def read_folder(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The payload of the diffusers family: ``unet_config``, ``weights`` and, if any, ``scheduler_config``.

    Raises:
        ValueError: no config or no weights in the folder, weights that cannot be read safely, or no hub.
    """
    configs = read_configs(path)
    held = [configs.home / name for name in (*WEIGHTS, *INDICES) if (configs.home / name).is_file()]
    if not held:
        raise ValueError(
            f"{configs.home} has none of {', '.join((*WEIGHTS, *INDICES))}; download the weights too, or write "
            "the folder again with save_pretrained."
        )
    weights = read_shards(held[0]) if held[0].name in INDICES else read_payload(held[0])
    if not isinstance(weights, Mapping):
        raise ValueError(f"weights file {held[0]} holds a list; expected tensors by name. Fetch it again.")
    scheduler = {} if configs.scheduler is None else {"scheduler_config": configs.scheduler}
    return {"unet_config": configs.unet, "weights": weights, **scheduler}


def read_shards(index: Path) -> dict[str, Any]:
    """The weights of all files that an index lists. The files lie beside the index, and nowhere else.

    Raises:
        ValueError: the index is none, or names a file that is elsewhere, missing or without a listed weight.
    """
    listed = _json(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
        raise ValueError(f"{index} has no weight_map from names to files; download it again.")
    files = sorted(set(listed.values()))
    if outside := [name for name in files if Path(name).name != name]:
        raise ValueError(
            f"{index} names {outside[0]!r}, which is not a file beside it; the index is refused."
        )
    if missing := [name for name in files if not (index.parent / name).is_file()]:
        raise ValueError(
            f"{index.parent} lacks {', '.join(missing)}, which {index.name} lists; download them too."
        )
    weights: dict[str, Any] = {}
    for name in files:
        weights |= read_payload(index.parent / name)
    if lacking := sorted(listed.keys() - weights.keys()):
        raise ValueError(
            f"the files that {index} lists lack {len(lacking)} of its weights, first {lacking[0]}; "
            "download them again."
        )
    return weights


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
    configs = ["config.json", "scheduler_config.json", "scheduler/scheduler_config.json"]
    configs += [f"{part}/config.json" for part in NETWORKS]
    try:
        for name, further in _WANTED:
            wanted = [name, *(f"{part}/{name}" for part in NETWORKS), *further]
            fetched = Path(snapshot_download(os.fspath(path), allow_patterns=[*configs, *wanted]))
            if _find(fetched, NETWORKS, name) is not None:
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


def _find(folder: Path, parts: Sequence[str], name: str) -> Path | None:
    places = (*(folder / part / name for part in parts), folder / name)
    return next((file for file in places if file.is_file()), None)


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8.") from None
    except RecursionError:
        raise ValueError(f"{file} is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{file} is not JSON; fetch it again, or write it again with diffusers.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; a diffusers config is an object.")
    return content
