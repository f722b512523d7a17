"""The folder of ``--mode sample``: the latest samples, and beside them the earlier ones of other settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_lib.files import write_json
from run_lib.ours import mark, record_of, somebody_elses

RECORD = "settings.json"
"""Everything that the samples depend on."""
EARLIER = "earlier"
"""The folder of samples of other settings, one folder for each."""
CLASSES = "classes"
"""The folder of a picture for each class."""
_FACTS = "samples.json"
_FILES = ("samples.npz", "samples.png", _FACTS, "trajectory.gif")
_FRAMES = "trajectory"
_UNMARKED = ("count", "nfe", "seconds", "seed", "step", "config_hash")
_SECTIONS = ("plugins", "data", "model", "sampling", "guidance", "components")
_NO_EFFECT = {"sampling": ("batch_size",)}


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

    def _written(self) -> Iterator[Path]:
        yield from (Path(name) for name in _FILES if name != _FACTS)
        for folder, names in ((_FRAMES, "frame_*.png"), (CLASSES, "class_*.png")):
            yield from (f.relative_to(self.path) for f in sorted((self.path / folder).glob(names)))
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
