"""EDM2's snapshots of averages: a network pickle for each relative width, two of every snapshot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from models.base import Network
from models.checkpoints.loader import read, readable, recognise
from models.checkpoints.misfits import ArchitectureError
from run_lib.training.profiles import AverageFiles, Snapshot

_NAME = re.compile(r"(.*)-(\d{1,12})-(\d+\.\d+)\.pkl")
_BATCH = 1024
"""EDM2 counts training in images, in multiples of it; names have thousands of them."""


@final
@dataclass(frozen=True)
class PublishedSnapshots(AverageFiles):
    """The snapshots of a folder of ``NAME-KIMG-STD.pkl``, as EDM2's training and its published raw snapshots are named.

    A step is a number of images in thousands.

    Attributes:
        network: of the weights.
        record: the configuration that it was built with, JSON.
    """

    network: Network
    record: str

    def path(self, step: int) -> Path:
        return next(iter(self._files(step).values()))

    def steps(self) -> list[int]:
        self._check_one_training()
        return sorted({int(found[2]) for found in self._named() if int(found[2])})

    def read(self, step: int) -> Snapshot:
        """The averages of one step by our names, in the precision of the files.

        Raises:
            ValueError: a file cannot be read safely, or is of another network.
        """
        averages = {width: self._weights(path) for width, path in self._files(step).items()}
        # Thousands were rounded down, to which the least multiple belongs.
        images = -(-step * 1000 // _BATCH) * _BATCH
        return Snapshot(step, images, averages, self.record, ())

    def _weights(self, path: Path) -> dict[str, Tensor]:
        recognised = recognise(read(path), path)
        family = recognised.family
        names = family.key_map(self.network)
        with readable(path, family):
            tensors = family.tensors(recognised.payload, ema=True)
            family.left_out(recognised.payload, self.network, ema=True)
        trained = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        wrong = [
            name for name, p in trained.items() if getattr(tensors.get(names[name]), "shape", None) != p.shape
        ]
        if wrong:
            raise ArchitectureError(
                f"{path} is of another network than the configuration's: it lacks {names[wrong[0]]}, or has it in "
                "another shape."
            )
        return {name: tensors[names[name]] for name in trained}

    def _files(self, step: int) -> dict[float, Path]:
        found = {float(m[3]): self.folder / m[0] for m in self._named() if int(m[2]) == step}
        return dict(sorted(found.items()))

    def _named(self) -> list[re.Match[str]]:
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        return [found for name in names if (found := _NAME.fullmatch(name))]

    def _check_one_training(self) -> None:
        trainings = sorted({found[1] for found in self._named()})
        if len(trainings) > 1:
            raise ValueError(
                f"{self.folder} has snapshots of several trainings, {', '.join(trainings[:5])}: put those of one "
                "into a folder of their own."
            )
