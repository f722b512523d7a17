"""The folder of ``--mode sample``: the latest samples, and beside them the earlier ones of other settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from run_lib.data.rows import Rows
from run_lib.files import write_json
from run_lib.ours import mark, record_of, somebody_elses
from run_lib.pictures import save_png

RECORD = "settings.json"
"""Everything that the samples depend on."""
EARLIER = "earlier"
"""The folder of samples of other settings, one folder for each."""
CLASSES = "classes"
"""The folder of a picture for each class."""
_FACTS = "samples.json"
_FILES = ("samples.npz", "samples.png", _FACTS, "trajectory.gif")
_FRAMES = "trajectory"
IMAGES = "png"
"""The folder of a PNG of each sample: ``00000.png``, or in a folder for each class."""
_DIGITS = 5
_IMAGE = re.compile(rf"{IMAGES}/(\d{{{_DIGITS},}}/)?\d{{{_DIGITS},}}\.png")
_UNMARKED = ("count", "nfe", "seconds", "seed", "step", "config_hash")
_SECTIONS = ("plugins", "data", "model", "sampling", "guidance", "components")
_NO_EFFECT = {"sampling": ("batch_size", "png", "png_by_class")}
WRITTEN = ("num_samples", "grid_size", "trajectory", "png", "png_by_class")
"""Fields of ``config.sampling`` that say how many samples there are and what is written of them: no sample depends on
these."""


@dataclass(frozen=True)
class SampleFolder:
    """A folder of samples of one seed, one checkpoint and one set of settings.

    Attributes:
        path: of the folder.
    """

    path: Path

    def check(self) -> None:
        """Refuse a folder in which samples would take the place of somebody else's files.

        Raises:
            ValueError: it holds files that are not of this mode.
        """
        self._held()

    def open(self, depends_on: Mapping[str, Any]) -> Path | None:
        """Make room for samples of the given settings; those of others are moved, and nothing is overwritten.

        Returns:
            where earlier samples of other settings are now; None where there were none.

        Raises:
            ValueError: the folder holds files that are not of this mode.
        """
        record = json.loads(json.dumps({**mark("sample"), **depends_on}, default=str))
        held, moved = self._held(), None
        if held is not None and held != record:
            moved = self._move(held)
        write_json(self.path / RECORD, record)
        return moved

    def _held(self) -> Mapping[str, Any] | None:
        """The record of the samples that are there; None: the folder has none and nothing in their places.

        Raises:
            ValueError: what lies in their places is not of this mode.
        """
        held = record_of(self.path / RECORD, "sample", ())
        if held is None and not os.path.lexists(self.path / RECORD):
            held = record_of(self.path / _FACTS, "sample", _UNMARKED)
        taken = (RECORD, *map(str, self._written()), *_FILES)
        if held is None and any(os.path.lexists(self.path / name) for name in taken):
            raise somebody_elses(self.path, "workdir")
        return held

    def _move(self, held: Mapping[str, Any]) -> Path:
        """Move what this mode wrote, the record last: where that is interrupted, the next run goes on with it."""
        name = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]
        place = self.path / EARLIER / name
        for file in (*self._written(), Path(RECORD)):
            if os.path.lexists(self.path / file):
                (place / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.path / file, place / file)
        return place

    def write_images(self, rows: Rows, labels: Tensor | None) -> None:
        """Write each sample as a PNG, grey or in colour, whose values are the levels.

        PNGs that are there are of the same samples, since those of others are moved, and maybe in other folders: they
        are removed.

        Args:
            rows: levels (C, H, W) of 1 or 3 channels, uint8.
            labels: the class of each, whose number names its folder; None: there are no folders.

        Raises:
            MachineError: the disk is full, or fails.
        """
        for file in self._images():
            (self.path / file).unlink()
        digits = max(_DIGITS, len(str(len(rows) - 1)))  # of one width: names and numbers have one order
        for some, images in rows.chunks():
            for index, image in zip(some, images.numpy(), strict=True):
                place = "" if labels is None else f"{int(labels[index]):0{_DIGITS}d}/"
                plain = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
                save_png(plain, self.path / IMAGES / f"{place}{index:0{digits}d}.png")

    def _images(self) -> list[Path]:
        files = (self.path / IMAGES).glob("**/*.png")
        return sorted(f for f in (f.relative_to(self.path) for f in files) if _IMAGE.fullmatch(f.as_posix()))

    def _written(self) -> Iterator[Path]:
        yield from (Path(name) for name in _FILES if name != _FACTS)
        for folder, names in ((_FRAMES, "frame_*.png"), (CLASSES, "class_*.png")):
            yield from (f.relative_to(self.path) for f in sorted((self.path / folder).glob(names)))
        yield from self._images()
        yield Path(_FACTS)


def deciding(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a resolved configuration samples depend on, but for the weights and the seed; plain data."""
    found: dict[str, Any] = {}
    for section in _SECTIONS:
        value, ignored = record.get(section), _NO_EFFECT.get(section, ())
        found[section] = (
            {k: v for k, v in value.items() if k not in ignored} if isinstance(value, Mapping) else value
        )
    training = record["training"]
    return found | {"training": {name: training[name] for name in ("sde", "continuous", "task")}}
