"""Reading a weights file without executing anything in it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoints.archive import check_archive
from models.checkpoints.damage import DamagedCheckpointError, out_of_memory
from models.checkpoints.declared import OPTIONS, ForeignError, Options
from models.checkpoints.network_pickle import is_network_pickle, read_network_pickle
from models.checkpoints.ours import read_weights

# Safetensors itself allows no longer header.
_LONGEST_HEADER = 100_000_000
_NOT_SAFETENSORS = "cannot be read: truncated, or not safetensors"


def _numpy_scalars() -> list[Any]:
    """What numpy floats and integers need: score_sde's warm-up leaves one as its optimizer's rate."""
    scalar = np.float64(0).__reduce__()[0]
    types = [type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "u1", "?")]
    # numpy 2 moved the constructor; files of either age are about.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, *types]


def read_payload(path: str | os.PathLike[str]) -> Any:
    """Everything in a ``.pt``/``.pth``/``.bin``/``.ckpt`` or ``.safetensors`` file, or NVlabs' snapshot, on the CPU.

    Pickled files are read with ``weights_only=True``: tensors, numbers, strings and containers of them. Their
    declared sizes and checksums are compared with the file before anything is allocated.

    Raises:
        DamagedCheckpointError: the file is truncated, altered, or no file of weights.
        ValueError: the file is missing or may not be read, holds no collection, or needs arbitrary unpickling.
    """
    file = Path(path)
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise ValueError(f"weights file {file} {what}; give the path of one file of weights.")
    try:
        payload = _reader(file)(file)
    except PermissionError:
        raise ValueError(
            f"weights file {file} may not be read by this user; give it read permission."
        ) from None
    if not isinstance(payload, Mapping | list | tuple):
        raise ValueError(f"weights file {file} holds a {type(payload).__name__}; expected tensors by name.")
    return payload


def _reader(file: Path) -> Callable[[Path], Any]:
    if _is_safetensors(file):
        return _read_safetensors
    return read_network_pickle if is_network_pickle(file) else _read_pickled


def _is_safetensors(file: Path) -> bool:
    """By its first bytes, whatever its name: a header's length and an opening brace."""
    if file.suffix == ".safetensors":
        return True
    with file.open("rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= file.stat().st_size


def _read_pickled(file: Path) -> Any:
    try:
        check_archive(file)
        with torch.serialization.safe_globals([*_numpy_scalars(), (Options, OPTIONS)]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except ForeignError as error:
        raise ValueError(
            f"weights file {file} refused: it needs arbitrary unpickling, which can run any code. "
            "Nothing of it was executed. Where you trust it, save its tensors alone, as safetensors or "
            f"with torch.save(model.state_dict(), path). It names {error}."
        ) from None
    # torch's own words advise unsafe loading and reports to its authors, so they are not passed on.
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, AttributeError) as error:
        if out_of_memory(error):
            raise
        raise DamagedCheckpointError(
            file, "cannot be read: truncated, or not written by torch.save"
        ) from None


def _read_safetensors(file: Path) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file
    except ImportError:
        raise ValueError(f"{file} is a safetensors file; reading it needs: pip install safetensors") from None
    _check_header(file)
    try:
        weights = load_file(file, device="cpu")
        with safe_open(file, framework="pt") as opened:
            return read_weights(weights, opened.metadata())
    except (SafetensorError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        if out_of_memory(error):
            raise
        raise DamagedCheckpointError(file, _NOT_SAFETENSORS) from None


def _check_header(file: Path) -> None:
    """Compare the header's length and the end of each tensor with the size of the file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise DamagedCheckpointError(file, _NOT_SAFETENSORS)
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            fits = max(ends, default=0) == size - 8 - length
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            fits = False
    if not fits:
        raise DamagedCheckpointError(file, _NOT_SAFETENSORS)
