"""What has been measured of data: ``stats.json`` beside them, from which ``auto`` takes numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from run_lib.data.latents import Latents
from run_lib.files import read_json, write_json

FILE = "stats.json"


def facts_key(section: Any) -> str:
    """What the measurements of a data set are filed under: several may have the same folder.

    Args:
        section: ``config.data``.
    """
    size = section.image_size if isinstance(section.image_size, int) else tuple(section.image_size)
    shape = tuple(section.shape) or (section.num_channels, *((size, size) if isinstance(size, int) else size))
    category = f"/{section.category}" if section.get("category") else ""
    levels = f"latents of {section.codec}" if section.codec else f"{section.levels} levels"
    return f"{section.dataset.lower()}{category}, {Path(section.root).name}, {shape}, {levels}"


def place_of(root: Path) -> Path:
    """The file beside the data."""
    return (root.parent if root.is_file() else root) / FILE


def write_facts(path: Path, key: str, facts: dict[str, Any]) -> None:
    """Add measurements to a file, or replace those of the same data."""
    held = read_json(path) if path.is_file() else {}
    write_json(path, {**(held if isinstance(held, dict) else {}), key: facts})


def automatic(section: Any, what: str, latents: Latents | None = None) -> float:
    """A number for ``config.model.<what>=auto``, in the range that the network sees.

    Args:
        section: ``config.data``.
        what: "sigma_max" or "sigma_data".
        latents: that the data are, with what they are scaled by; None: they are none.

    Raises:
        ValueError: the data have not been measured; the message says how to.
    """
    measured = _measured(section, f"model.{what}")
    if latents is not None and what == "sigma_data":
        mean, std = (_moments(section, f"latent_{moment}") for moment in ("mean", "std"))
        return scaled_deviation(latents, mean, std)
    number = measured.get(what)
    if not isinstance(number, (int, float)) or not math.isfinite(number) or number <= 0:
        raise ValueError(
            f"{place_of(Path(section.root))} has {what}={number!r} of {facts_key(section)!r}, no positive number: run "
            f"--mode stats again."
        )
    if latents is None:
        return float(number) * scale(section.levels, section.centered, section.uniform_dequantization)
    if len(latents.std) > 1:
        raise ValueError(
            f"config.model.{what}=auto is a distance of latents as they are, and data.latent_std scales each channel "
            f"by itself: set a number, or one latent_std for all."
        )
    return float(number) / latents.std[0]


def automatic_moments(section: Any, what: str) -> tuple[float, ...]:
    """Numbers by channel for ``config.data.<what>=auto``, of latents as their files have them.

    Args:
        section: ``config.data``.
        what: "latent_mean" or "latent_std".

    Raises:
        ValueError: the data have not been measured, or a channel has one value only.
    """
    found = _moments(section, what)
    if what == "latent_std" and min(found) <= 0:
        raise ValueError(
            f"{place_of(Path(section.root))} has channels of no variance, std={found}: set config.data.latent_std."
        )
    return found


def scaled_deviation(latents: Latents, mean: Sequence[float], std: Sequence[float]) -> float:
    """The standard deviation of all values of scaled latents alike.

    Args:
        latents: with what they are scaled by.
        mean, std: of each channel before that.
    """
    count = len(mean)
    means, stds = ((*of, *of[:1] * (count - len(of)))[:count] for of in (latents.mean, latents.std))
    centers = [(m - a) / b for m, a, b in zip(mean, means, stds, strict=True)]
    squares = [(s / b) ** 2 + c**2 for s, b, c in zip(std, stds, centers, strict=True)]
    return math.sqrt(max(0.0, sum(squares) / count - (sum(centers) / count) ** 2))


def _measured(section: Any, field: str) -> Mapping[str, Any]:
    """What has been measured of the data.

    Raises:
        ValueError: nothing has.
    """
    path, key = place_of(Path(section.root)), facts_key(section)
    held = read_json(path) if path.is_file() else {}
    if not isinstance(held, dict) or not isinstance(held.get(key), dict):
        raise ValueError(
            f"config.{field}=auto takes it from {path}, which does not have {key!r}: run --mode stats first, with "
            f"the same configuration, or set a number."
        )
    found: Mapping[str, Any] = held[key]
    return found


def _moments(section: Any, what: str) -> tuple[float, ...]:
    found = _measured(section, f"data.{what}").get(what.removeprefix("latent_"))
    if not isinstance(found, list) or not all(isinstance(n, int | float) and math.isfinite(n) for n in found):
        raise ValueError(
            f"{place_of(Path(section.root))} has {what}={found!r} of {facts_key(section)!r}, no numbers: run --mode "
            f"stats again."
        )
    return tuple(map(float, found))


def scale(levels: int, centered: bool, dequantized: bool) -> float:
    """What one level is in the range that the network sees."""
    if not levels:
        return 1.0
    return (2.0 if centered else 1.0) / (levels if dequantized else levels - 1)
