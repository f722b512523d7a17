"""Sets of samples of a checkpoint: drawn batch by batch by all processes, kept on disk, read a batch at a time."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from run_lib.data.packed import read_arrays
from run_lib.data.rows import Indices, Rows
from run_lib.evaluation.task import CheckpointTask
from run_lib.fingerprint import basis_of_samples
from run_lib.sample import batches, draw, followed
from run_lib.sample_folder import WRITTEN, deciding
from run_lib.sharing.parts import Part, Parts


@dataclass(frozen=True)
class SampleRows(Rows):
    """Samples as levels, in the files of the batches that they were drawn in.

    Attributes:
        folder: of the files.
        of: the global indices of the samples.
        batch_size: of a batch.
        like: a tensor of a sample's shape and type.
    """

    folder: Path
    of: range
    batch_size: int
    like: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.like.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.like.dtype

    @property
    def costly(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self.of)

    def read(self, indices: Indices) -> Tensor:
        wanted = np.asarray(indices, dtype=np.int64)
        found = torch.zeros((len(wanted), *self.shape), dtype=self.dtype)
        for batch in np.unique(wanted // self.batch_size).tolist():
            first = batch * self.batch_size
            inside = np.flatnonzero(wanted // self.batch_size == batch)
            held = _levels(self.folder, self.of.start + first)
            found[torch.from_numpy(inside)] = torch.from_numpy(held[wanted[inside] - first])
        return found


@functools.lru_cache(maxsize=2)
def _levels(folder: Path, first: int) -> np.ndarray:
    return read_arrays(folder / f"samples_{first:05d}.npz", ["levels"])["levels"]


@dataclass(frozen=True)
class SampleSet:
    """Some samples that are drawn.

    Attributes:
        rows: the samples.
        labels: the class of each (N,); None: they have none.
        nfe: network evaluations for a sample.
        seconds: that drawing took.
        lost: global indices of samples that are not finite: the set is not whole.
    """

    rows: Rows
    labels: np.ndarray | None
    nfe: float
    seconds: float
    lost: np.ndarray


@dataclass(frozen=True)
class PlannedSet:
    """A set of samples before it is drawn.

    Batches that are drawn already are taken, whatever is measured of them: they are filed under all that samples
    depend on.

    Attributes:
        task: of the checkpoint.
        num_samples: in the set.
        number: of the set: each has seeds of its own, the second those after the first.
    """

    task: CheckpointTask
    num_samples: int
    number: int = 0

    @functools.cached_property
    def key(self) -> str:
        """A name for all that the samples depend on, whatever set they are in."""
        plan = self.task.plan.samples
        record = deciding(plan.subject.record.values)
        sampling = {k: v for k, v in record["sampling"].items() if k not in WRITTEN}
        settings = {
            **record,
            "sampling": sampling,
            "seed": plan.seed,
            "batch_size": plan.settings.batch_size,
            "num_samples": self.num_samples,
        }
        return basis_of_samples(plan).key(settings, plan.arithmetic.on(plan.device))

    @property
    def fingerprint(self) -> str:
        return f"{self.key}-{self.number}"

    def draw(self) -> SampleSet:
        """Draw it, processes sharing the batches."""
        task, plan = self.task, self.task.plan.samples
        size, start = plan.settings.batch_size, self.number * self.num_samples
        parts = Parts(task.parts.parent / f"{task.step}-{self.key}", task.processes)
        none = {"levels": np.zeros((0, *plan.data.shown.shape)), "nfe": np.zeros(0), "labels": np.zeros(0)}

        def drawn(some: range) -> Part:
            batch = draw(followed(plan), some)
            labels = np.zeros(0) if batch.labels is None else batch.labels.cpu().numpy()
            return {"levels": batch.levels.numpy(), "nfe": np.full(len(some), batch.nfe), "labels": labels}

        todo = [range(start + some.start, start + some.stop) for some in batches(self.num_samples, size)]
        wanted = ("nfe", "labels", "lost", "seconds")
        found = [
            {name: part[name] for name in wanted}
            for part in parts.each(
                "samples", todo, lambda some: task.samples(lambda: drawn(some), like=none), names=wanted
            )
        ]
        nfe, labels, lost = (np.concatenate([part[name] for part in found]) for name in wanted[:3])
        assert parts.folder is not None
        return SampleSet(
            rows=SampleRows(
                parts.folder,
                range(start, start + self.num_samples),
                size,
                plan.data.shown.to_levels(torch.zeros(plan.data.shown.shape)),
            ),
            labels=labels if labels.size else None,
            nfe=float(nfe.mean()) if nfe.size else 0.0,
            seconds=float(np.sum([part["seconds"] for part in found])),
            lost=lost,
        )
