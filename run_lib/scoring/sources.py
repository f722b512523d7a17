"""What sets of images are opened from: a path of images, or of statistics."""

from __future__ import annotations

from pathlib import Path

from run_lib.fingerprint import of_rows


from run_lib.scoring.features import Images
from run_lib.scoring.known import Known
from run_lib.scoring.measuring import Reference

open_set = is_statistics = read_statistics = None


def open_images(path: Path, levels: int = 256) -> Images:
    """Images of whatever program, which are read as they are needed.

    Raises:
        ValueError: there are none, or they cannot be read.
    """
    split = open_set(path, levels=levels)
    return Images.of_split(split, path.name, of_rows(split.rows))


def open_reference(path: Path, shape: tuple[int, ...], levels: int) -> Reference:
    """What images are held against.

    Args:
        path: of images, or of statistics.
        shape: of an image that is scored.
        levels: of its values.

    Raises:
        ValueError: it cannot be read, or its images have another shape.
    """
    if is_statistics(path):
        found = read_statistics(path)
        return {found.extractor: Known(path.name, found.moments)}
    images = open_images(path, levels)
    if images.rows.shape != shape:
        raise ValueError(
            f"{path} has images of {images.rows.shape}, and those that are scored are of {shape}: bring both to one "
            f"size by the same program."
        )
    return images
