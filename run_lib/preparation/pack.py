"""``--mode pack``: any data set as one mapped file for each split, by one process or several, in blocks."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from run_lib.config.preparing import PreparationPlan
from run_lib.data.ahead import Reads
from run_lib.data.latents import Coding, Latents
from run_lib.data.packed_split import facts_file, labels_file
from run_lib.data.rows import Mapped
from run_lib.data.split import MissingSplitError, Split
from run_lib.faults import naming
from run_lib.files import atomic, read_json, write_json
from run_lib.output.progress import Progress
from run_lib.preparation.stats import Moments
from run_lib.processes import Processes
from run_lib.run import Run

BLOCK = 2**24
"""Bytes that are written at a time, and again after a run that was killed."""


def pack(plan: PreparationPlan, run: Run) -> None:
    """Write the splits of a data set, each as ``<split>.npy``, ``<split>.labels.npy`` and ``<split>.json``.

    Raises:
        ValueError: missing data, or more samples that cannot be read than ``data.max_corrupt``.
    """
    folder = plan.path or run.folder("packed")
    processes = Processes.from_environment()
    with processes.process_group(), naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("train", "test"):
            try:
                split = _found(plan, name)
            except MissingSplitError as error:
                print(f"no {name} split is packed: {error}")
                continue
            _Packing(
                split,
                folder / f"{name}.npy",
                plan.key,
                plan.data.reading.max_corrupt,
                processes,
                plan.data.latents,
            ).run()
        shape = "" if len(plan.data.shape) == 3 else f" --config.data.shape={plan.data.shape}"
        print(f"packed in {folder}: use it by --config.data.dataset=npy --config.data.root={folder}{shape}")


def _found(plan: PreparationPlan, name: str) -> Split:
    """A split as it is packed: of a codec, the latents of its images, each made once."""
    if plan.data.latents is None:
        return plan.data.load(name)
    return plan.data.latents.encoded(plan.data.shown.load(name), plan.data.shown, plan.device)


@dataclass(frozen=True)
class _Packing:
    """One split on its way into one file.

    Attributes:
        split: what is packed.
        path: of the file, which is there when it is whole.
        key: says of which data it is.
        most: samples that may be unreadable; they are left out, and the last ones take their places.
        processes: each writes every so many blocks.
        latents: that are packed; None: they are none.
    """

    split: Split
    path: Path
    key: str
    most: int
    processes: Processes
    latents: Latents | None = None

    @property
    def unfinished(self) -> Path:
        return self.path.with_name(f".packing-{self.path.name}")

    @property
    def done(self) -> Path:
        """A byte for each block: 0 until it is written, then 1; 2 where it has samples that cannot be read."""
        return self.unfinished.with_suffix(".done")

    @property
    def plan(self) -> Path:
        """What is packed, as JSON."""
        return self.unfinished.with_suffix(".plan")

    @property
    def dtype(self) -> np.dtype:
        """Of the file: 8 or 16 bits for levels."""
        kinds = {
            torch.uint8: "u1",
            torch.int32: "<u2",
            torch.int64: "<u2",
            torch.float32: "<f4",
            torch.float64: "<f8",
        }
        if self.split.rows.dtype not in kinds:
            raise ValueError(
                f"data of type {self.split.rows.dtype} cannot be packed; allowed: integer levels of 8, 16, 32 or "
                f"64 bits, floats of 32 or 64. Convert it in the data set."
            )
        return np.dtype(kinds[self.split.rows.dtype])

    @property
    def row_bytes(self) -> int:
        return math.prod(self.split.rows.shape) * self.dtype.itemsize

    @property
    def rows_of_block(self) -> int:
        return max(1, BLOCK // self.row_bytes)

    def header(self, count: int) -> bytes:
        """The first bytes of an ``.npy`` of so many rows; as many bytes for any count."""
        stream = io.BytesIO()
        shape = (count, *self.split.rows.shape)
        described = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, described)
        return stream.getvalue()

    def run(self) -> None:
        """Write what is not written yet; the last to end makes it whole."""
        count = len(self.split)
        blocks = -(-count // self.rows_of_block)
        if self.processes.is_main:
            self._begin(count, blocks)
        self.processes.barrier()
        if self.unfinished.exists():
            self._write(blocks)
        self.processes.barrier()
        if self.processes.is_main and self.unfinished.exists():
            self._finish(count, blocks)
        self.processes.barrier()

    def _begin(self, count: int, blocks: int) -> None:
        """Make the files, unless those of an earlier run are there."""
        wanted = {
            "data": self.key, "count": count, "shape": list(self.split.rows.shape), "dtype": self.dtype.str,
            "block": self.rows_of_block,
        }  # fmt: skip
        if self.latents is not None:
            wanted["codec"] = self.latents.codec.fingerprint
        if self.path.exists() and facts_file(self.path).is_file():
            held = read_json(facts_file(self.path))
            if isinstance(held, dict) and held.get("packed") == wanted:
                print(f"packing: nothing is left to do: {self.path} is there already")
                self._tidy(blocks)  # after a run that was killed just before
                return
            raise ValueError(
                f"{self.path} holds something else and is not overwritten: take another pack.path."
            )
        if self.plan.is_file() and self.unfinished.is_file() and self.done.is_file():
            if read_json(self.plan) == wanted:
                print(f"going on with {self.path}")
                return
            raise ValueError(
                f"{self.unfinished} is unfinished and of other data: move it away, with {self.done.name} and "
                f"{self.plan.name} beside it, or take another pack.path."
            )
        with self.unfinished.open("wb") as file:
            file.write(self.header(count))
            file.truncate(len(self.header(count)) + count * self.row_bytes)
        self.done.write_bytes(bytes(blocks))
        write_json(self.plan, wanted)

    def _write(self, blocks: int) -> None:
        """The blocks of this process that are not written yet."""
        reads, offset = Reads(self.split.rows, self.most), len(self.header(len(self.split)))
        states = self.done.read_bytes()
        own = [k for k in self.processes.own_batches(blocks) if not states[k]]
        bar = Progress(f"packing {self.path.name}", len(own), "block")
        with self.unfinished.open("r+b") as file, self.done.open("r+b", buffering=0) as done, bar:
            for k in own:
                first = k * self.rows_of_block
                found = reads[np.arange(first, min(first + self.rows_of_block, len(self.split)))]
                if len(found.corrupt) > self.most or found.error is not None:
                    reason = found.error or list(found.corrupt.values())[-1]
                    raise ValueError(f"{reason} (data.max_corrupt={self.most}; what is packed is kept)")
                if found.corrupt:
                    write_json(self._bad(k), {str(index): reason for index, reason in found.corrupt.items()})
                file.seek(offset + first * self.row_bytes)
                file.write(found.images.numpy().astype(self.dtype).tobytes())
                file.flush()
                os.fdatasync(file.fileno())
                done.seek(k)
                done.write(b"\2" if found.corrupt else b"\1")
                bar.add()

    def _tidy(self, blocks: int) -> None:
        for path in (self.done, self.plan, *(self._bad(k) for k in range(blocks))):
            path.unlink(missing_ok=True)

    def _bad(self, block: int) -> Path:
        return self.unfinished.with_suffix(f".bad-{block}")

    def _finish(self, count: int, blocks: int) -> None:
        """Leave out what could not be read, add the labels and the names of the classes, and give it its name."""
        bad: dict[int, str] = {}
        for k, state in enumerate(self.done.read_bytes()):
            if state == 2:
                bad |= {int(index): reason for index, reason in read_json(self._bad(k)).items()}
        if len(bad) > self.most:
            raise ValueError(
                f"{len(bad)} samples cannot be read, and data.max_corrupt={self.most}: {next(iter(bad.values()))}"
            )
        rows = np.arange(count)
        kept = count - len(bad)
        rows[sorted(index for index in bad if index < kept)] = [k for k in range(kept, count) if k not in bad]
        with self.unfinished.open("r+b") as file:
            offset = len(self.header(count))
            cut = (
                file.seek(0, os.SEEK_END) == offset + kept * self.row_bytes
            )  # by a run that was killed hereafter
            for place in () if cut else np.flatnonzero(rows[:kept] != np.arange(kept)):
                file.seek(offset + int(rows[place]) * self.row_bytes)
                content = file.read(self.row_bytes)
                file.seek(offset + int(place) * self.row_bytes)
                file.write(content)
            file.seek(0)
            file.write(self.header(kept))
            file.truncate(offset + kept * self.row_bytes)
            file.flush()
            os.fsync(file.fileno())
        labels = self.split.labels.numpy()[rows[:kept]]
        if (labels >= 0).any():
            with atomic(labels_file(self.path)) as partial, partial.open("wb") as file:
                np.save(file, labels)
        facts = {"classes": list(self.split.classes), "packed": read_json(self.plan)}
        if self.latents is not None:
            facts["latents"] = self._coding(self.latents).as_json()
        write_json(facts_file(self.path), facts | ({"left_out": list(bad.values())} if bad else {}))
        os.replace(self.unfinished, self.path)
        self._tidy(blocks)
        for reason in bad.values():
            print(f"left out: {reason}")

    def _coding(self, latents: Latents) -> Coding:
        """What made the latents of the whole file, and their moments."""
        moments = Moments()
        for _, some in Mapped(self.unfinished).chunks():
            moments.add(some if some.ndim > 2 else some[..., None])
        mean, std = (tuple(of.tolist()) for of in (moments.mean, moments.std))
        return Coding(latents.name, latents.codec.fingerprint, latents.image_shape, mean, std)
