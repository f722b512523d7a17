"""Files of statistics of whatever program, told apart by what they hold (docs/references.md)."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.checkpoints.pickles import read_pickle, shown, unpickled
from models.checkpoints.rebuilt import Named
from run_lib.data.packed import PackedError, array_names, read_arrays
from run_lib.faults import naming
from run_lib.metrics.base import Output
from run_lib.metrics.moments import Moments
from run_lib.references.statistics import OUTPUTS, Statistics, as_protocol, checked_moments, checked_rows
from sde_lib.words import listed

PICKLES, TORCH = (".pkl", ".pickle"), (".pt", ".pth")
OF_EDM2 = {"fid": "inception", "fd_dinov2": "dinov2"}
"""Extractors of the entries of EDM2's dictionaries."""
OF_TORCH_FIDELITY = {"inception-v3-compat": "inception", "dinov2": "dinov2", "clip": "clip"}
"""Extractors by what the name of a cached file has in it."""
_CLEAN_FID = re.compile(r"_(clean|legacy_pytorch|legacy_tensorflow)(_clip_vit_b_32)?_[a-z0-9]+_(\d+|na)\.npz")
_STORAGES = {
    "torch.HalfStorage": torch.float16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
}
_KNOWN = (
    "ours (protocol), score_sde's (pool_3), guided-diffusion's (mu, sigma, mu_s, sigma_s), clean-fid's and EDM's (mu, "
    "sigma), EDM2's pickled dictionaries and torch-fidelity's cache (.pt)"
)


def is_statistics(path: Path) -> bool:
    """Whether a file is one of statistics: pickles and torch's files, and an ``.npz`` with arrays of theirs.

    Raises:
        ValueError: it cannot be read.
    """
    if not path.is_file() or path.suffix.lower() not in (".npz", *PICKLES, *TORCH):
        return False
    return path.suffix.lower() != ".npz" or _form(_names(path)) is not None


def has_images(path: Path) -> bool:
    """Whether a file of statistics has images, too, as guided-diffusion's reference batches do."""
    return path.suffix.lower() == ".npz" and "arr_0" in _names(path)


def read_statistics(path: Path) -> tuple[Statistics, ...]:
    """The statistics that a file has, those of each extractor by themselves.

    Raises:
        ValueError: it is of no form that is known, or damaged, or holds no statistics.
    """
    if not path.is_file():
        raise ValueError(f"there is no file of statistics {path}.")
    with naming(path):
        match path.suffix.lower():
            case ending if ending in PICKLES:
                return _of_pickle(path)
            case ending if ending in TORCH:
                return (_of_torch(path),)
        names = _names(path)
        read = _form(names)
        if read is None:
            raise ValueError(
                f"{path} has the arrays {listed(list(map(shown, names)), 12)}, and no statistics: files that are "
                f"read are {_KNOWN}."
            )
        return (read(path),)


def _names(path: Path) -> tuple[str, ...]:
    try:
        with naming(path):
            return array_names(path)
    except PackedError as error:
        raise ValueError(f"{path} {error}.") from error


def _form(names: tuple[str, ...]) -> Callable[[Path], Statistics] | None:
    if "protocol" in names:
        return _of_ours
    if "pool_3" in names:
        return _of_score_sde
    return _of_mean_and_covariance if {"mu", "sigma"} <= set(names) else None


def _arrays(path: Path, *names: str, optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path, names, optional)
    except PackedError as error:
        raise ValueError(f"{path} {error}.") from error


def _of_ours(path: Path) -> Statistics:
    arrays = tuple(f"{output}_{what}" for output in OUTPUTS for what in ("mean", "covariance"))
    held = _arrays(path, "protocol", "count", optional=(*arrays, "label_counts"))
    try:
        extractor, protocol = as_protocol(str(held["protocol"]))
    except ValueError as error:
        raise ValueError(f"{path} {error}.") from error
    if held["count"].shape != () or held["count"].dtype.kind not in "iu" or held["count"] < 0:
        raise ValueError(f"{path} has a count that is no number of images: make it anew with --mode stats.")
    moments: dict[Output, Moments] = {}
    for output in OUTPUTS:
        mean, covariance = held.get(f"{output}_mean"), held.get(f"{output}_covariance")
        if mean is not None and covariance is not None:
            moments[output] = checked_moments(f"{path}: {output}", mean, covariance, int(held["count"]))
    if not moments:
        raise ValueError(
            f"{path} has a protocol and no means and covariances: make it anew with --mode stats."
        )
    return Statistics(path, "ours", extractor, moments, {}, protocol, held.get("label_counts"))


def _of_score_sde(path: Path) -> Statistics:
    held = _arrays(path, "pool_3", optional=("logits",))
    outputs: dict[Output, str] = {"features": "pool_3", "logits": "logits"}
    rows = {
        output: checked_rows(f"{path}: {name}", held[name])
        for output, name in outputs.items()
        if name in held
    }
    if len({len(one) for one in rows.values()}) > 1:
        raise ValueError(
            f"{path}: pool_3 has {len(rows['features'])} images and logits {len(rows['logits'])}: both are of the "
            f"same images; fetch the file again."
        )
    moments = {output: Moments.of(one) for output, one in rows.items()}
    return Statistics(path, "score_sde's, of TF-GAN's Inception", "inception", moments, rows)


def _of_mean_and_covariance(path: Path) -> Statistics:
    held = _arrays(path, "mu", "sigma", optional=("mu_s", "sigma_s"))
    moments: dict[Output, Moments] = {
        "features": checked_moments(f"{path}: mu, sigma", held["mu"], held["sigma"])
    }
    if "mu_s" in held and "sigma_s" in held:
        moments["spatial"] = checked_moments(f"{path}: mu_s, sigma_s", held["mu_s"], held["sigma_s"])
        return Statistics(path, "guided-diffusion's", "inception", moments)
    if found := _CLEAN_FID.search(path.name.lower()):
        form = f"clean-fid's, of its mode {found[1]}"
        return Statistics(path, form, "clip" if found[2] else "inception", moments)
    return Statistics(path, "mu and sigma, as EDM's and pytorch-fid's", "inception", moments)


def _of_pickle(path: Path) -> tuple[Statistics, ...]:
    held = read_pickle(path)
    if not isinstance(held, dict):
        raise ValueError(f"{path} holds a {type(held).__name__}; files that are read are {_KNOWN}.")
    count = held.get("num_images", 0)
    if type(count) is not int or count < 0:
        raise ValueError(
            f"{path} has num_images={count!r}, which is no number of images: fetch the file again."
        )
    if "mu" in held:
        return (_pickled(path, "EDM's, pickled", "inception", held, count),)
    found = tuple(
        _pickled(path, f"EDM2's {entry}", extractor, held[entry], count)
        for entry, extractor in OF_EDM2.items()
        if entry in held
    )
    if not found:
        raise ValueError(
            f"{path} has the entries {listed(list(map(shown, held)), 12)}; expected some of {', '.join(OF_EDM2)}."
        )
    return found


def _pickled(path: Path, form: str, extractor: str, held: Any, count: int) -> Statistics:
    mean, covariance = (held.get(name) if isinstance(held, dict) else None for name in ("mu", "sigma"))
    if not (isinstance(mean, np.ndarray) and isinstance(covariance, np.ndarray)):
        raise ValueError(f"{path}: {form} has no arrays mu, (D,), and sigma, (D, D): fetch the file again.")
    found = checked_moments(f"{path}: {form}", mean, covariance, count)
    return Statistics(path, form, extractor, {"features": found})


def _of_torch(path: Path) -> Statistics:
    """Torch-fidelity's cache: ``DATA-EXTRACTOR-stat-fid-LAYER.pt``, or ``DATA-EXTRACTOR-features-LAYER.pt``."""
    extractor = next((name for word, name in OF_TORCH_FIDELITY.items() if word in path.name), "inception")
    held = _torch_object(path)
    form = "torch-fidelity's"
    if isinstance(held, dict):
        return _pickled(path, form, extractor, held, 0)
    if not isinstance(held, Tensor):
        raise ValueError(
            f"{path} holds a {type(held).__name__}; torch-fidelity's cache has mu and sigma, or features."
        )
    output: Output = "logits" if "logits" in path.name else "features"
    rows = checked_rows(str(path), held.numpy())
    return Statistics(path, form, extractor, {output: Moments.of(rows)}, {output: rows})


def _torch_object(path: Path) -> Any:
    """What ``torch.save`` wrote, read by the reader of pickles: its arrays are of numpy, which torch's refuses."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _saved(archive, path)
    # What zipfile raises of altered bytes has no common base.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} is none of torch-fidelity's files: it is damaged, or older than torch 1.6."
        ) from error


def _saved(archive: zipfile.ZipFile, path: Path) -> Any:
    members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
    if any(member.file_size > member.compress_size for member in members.values()):
        raise ValueError(f"{path} has compressed parts, which torch.save never writes.")

    def storage(pid: Any) -> Tensor:
        match pid:
            case ("storage", Named(name), str(key), _, int()) if name in _STORAGES:
                return torch.frombuffer(
                    bytearray(archive.read(members[f"data/{key}"])), dtype=_STORAGES[name]
                )
        raise ValueError("a storage is declared wrongly")

    if "data.pkl" not in members:
        raise ValueError(f"{path} is a zip file, but none that torch.save wrote.")
    with archive.open(members["data.pkl"]) as stream:
        return unpickled(stream, str(path), _STORAGES.__contains__, storage)
