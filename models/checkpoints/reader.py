"""Reading a weights file without executing anything in it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoints.ours import read_weights


def _numpy_scalars() -> list[Any]:
    """What numpy floats and integers need: score_sde's warm-up leaves one as its optimizer's rate."""
    scalar = np.float64(0).__reduce__()[0]
    types = [type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "u1", "?")]
    # numpy 2 moved the constructor; files of either age are about.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, *types]


def read_payload(path: str | os.PathLike[str]) -> Any:
    """Everything in a ``.pt``/``.pth``/``.bin``/``.ckpt`` or ``.safetensors`` file, on the CPU.

    Pickled files are read with ``weights_only=True``: tensors, numbers, strings and containers of them.

    Raises:
        ValueError: the file is missing, truncated, holds no collection, or needs arbitrary unpickling.
    """
    file = Path(path)
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise ValueError(f"weights file {file} {what}; give the path of one file of weights.")
    payload = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickled(file)
    if not isinstance(payload, Mapping | list | tuple):
        raise ValueError(f"weights file {file} holds a {type(payload).__name__}; expected tensors by name.")
    return payload


def _read_pickled(file: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        reason = _reason(error)
        if "GLOBAL" in reason or "allowlisted" in reason:
            raise ValueError(
                f"weights file {file} refused: it needs arbitrary unpickling, which can run any code. "
                "Nothing of it was executed. Where you trust it, save its tensors alone, as safetensors or "
                f"with torch.save(model.state_dict(), path). ({reason})"
            ) from None
        raise ValueError(
            f"weights file {file} ({file.stat().st_size} bytes) cannot be read: truncated, or not written by "
            f"torch.save. Fetch it again. ({reason})"
        ) from error


def _reason(error: Exception) -> str:
    """The line of torch's message that is about the file, not about ``weights_only``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Weights only load failed")]
    named = [line for line in told if "GLOBAL" in line or "allowlisted" in line]
    return (named or told or lines or [type(error).__name__])[0]


def _read_safetensors(file: Path) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file
    except ImportError:
        raise ValueError(f"{file} is a safetensors file; reading it needs: pip install safetensors") from None
    try:
        weights = load_file(file, device="cpu")
        with safe_open(file, framework="pt") as opened:
            return read_weights(weights, opened.metadata())
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"weights file {file} cannot be read: truncated, or not safetensors. ({error})"
        ) from error
