"""What has been measured of data: ``stats.json`` beside them, from which ``auto`` takes numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

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
    return f"{section.dataset.lower()}{category}, {Path(section.root).name}, {shape}, {section.levels} levels"


def place_of(root: Path) -> Path:
    """The file beside the data."""
    return (root.parent if root.is_file() else root) / FILE


def write_facts(path: Path, key: str, facts: dict[str, Any]) -> None:
    """Add measurements to a file, or replace those of the same data."""
    held = read_json(path) if path.is_file() else {}
    write_json(path, {**(held if isinstance(held, dict) else {}), key: facts})


def automatic(section: Any, what: str) -> float:
    """A number for ``config.model.<what>=auto``, in the range that the network sees.

    Args:
        section: ``config.data``.
        what: "sigma_max" or "sigma_data".

    Raises:
        ValueError: the data have not been measured; the message says how to.
    """
    path, key = place_of(Path(section.root)), facts_key(section)
    held = read_json(path) if path.is_file() else {}
    if not isinstance(held, dict) or key not in held:
        raise ValueError(
            f"config.model.{what}=auto takes it from {path}, which does not have {key!r}: run --mode stats first, with "
            f"the same configuration, or set a number."
        )
    number = held[key][what]
    if not isinstance(number, (int, float)) or not math.isfinite(number) or number <= 0:
        raise ValueError(
            f"{path} has {what}={number!r} of {key!r}, no positive number: run --mode stats again."
        )
    return float(number) * scale(section.levels, section.centered, section.uniform_dequantization)


def scale(levels: int, centered: bool, dequantized: bool) -> float:
    """What one level is in the range that the network sees."""
    if not levels:
        return 1.0
    return (2.0 if centered else 1.0) / (levels if dequantized else levels - 1)
