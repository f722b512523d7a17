"""Features of a set of images: made batch by batch by all processes, kept on disk, made once."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from run_lib.computing.numerics import in_float32
from run_lib.data.packed import PackedError, read_array
from run_lib.data.rows import Rows
from run_lib.data.split import Split
from run_lib.extractors.base import Extractor
from run_lib.files import atomic, write_json
from run_lib.metrics.base import Output, View
from run_lib.metrics.moments import Moments
from run_lib.processes import Processes
from run_lib.sample import batches
from run_lib.sharing.parts import Part, Parts

RECORD = "features.json"


@dataclass(frozen=True)
class Images:
    """A set of images that can be read a batch at a time.

    Attributes:
        title: what they are, in words.
        rows: the images, as levels or continuous data.
        fingerprint: of all of them.
        labels: the class of each (N,); None where they are not known.
        facts: what a reader must know of them, by name.
    """

    title: str
    rows: Rows
    fingerprint: str
    labels: np.ndarray | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.rows)

    @classmethod
    def of_split(cls, split: Split, title: str, fingerprint: str) -> Images:
        """Those of a split of data, its labels where all are known."""
        labels = split.labels.numpy()
        return cls(title, split.rows, fingerprint, labels if len(labels) and (labels >= 0).all() else None)


@dataclass(frozen=True)
class OnDisk(View):
    """Features in files ``<output>.npy`` of a folder.

    Attributes:
        folder: that has them.
        outputs: which there are.
        labels: the class of each image (N,).
        of: of which images, where it is not all of them.
    """

    folder: Path
    outputs: tuple[Output, ...]
    labels: np.ndarray | None = None
    of: np.ndarray | None = None

    @property
    def count(self) -> int:
        return len(self.rows(self.outputs[0]))

    def rows(self, output: Output) -> np.ndarray:
        if output not in self.outputs:
            raise ValueError(f"this extractor gives {', '.join(self.outputs)}, and no {output}.")
        held = read_array(self.folder / f"{output}.npy", mapped=True)
        return held if self.of is None else held[self.of]

    def moments(self, output: Output) -> Moments:
        return Moments.of(self.rows(output))

    def of_class(self, label: int) -> OnDisk:
        """The images of one class."""
        assert self.labels is not None, "asked of sets with labels alone"
        return OnDisk(self.folder, self.outputs, None, np.flatnonzero(self.labels == label))


@dataclass(frozen=True)
class FeatureStore:
    """A folder of features, a folder below it for each set of images and each extractor.

    Attributes:
        folder: of all.
        processes: which share the work.
        batch_size: images that are given to an extractor at a time.
    """

    folder: Path
    processes: Processes
    batch_size: int

    def view(self, images: Images, extractor: Extractor, outputs: Collection[Output]) -> OnDisk:
        """Features of all images; those that are there already are taken.

        An interrupted run goes on after the batches that are done. The features are the same whatever the number of
        processes.

        Raises:
            ValueError: features that are not finite; the message names the image.
        """
        wanted = tuple(sorted(set(outputs)))
        made_from = {
            "images": images.fingerprint,
            "count": str(images.count),
            "batch_size": str(self.batch_size),
            **extractor.protocol,
        }
        digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
        place = self.folder / digest
        lacking = tuple(output for output in wanted if not self._holds(place, output, images.count))
        self.processes.barrier()  # until all have looked
        if lacking:
            if self.processes.is_main:
                write_json(place / RECORD, {"of": images.title, **made_from})
            self._make(images, extractor, lacking, place)
        elif self.processes.is_main:
            Parts(place / "parts").remove()  # of a run that ended between the last file and their removal
        self.processes.barrier()
        return OnDisk(place, wanted, images.labels)

    def _holds(self, place: Path, output: Output, count: int) -> bool:
        path = place / f"{output}.npy"
        try:
            return path.is_file() and len(read_array(path, mapped=True)) == count
        except PackedError:
            return False

    def _make(self, images: Images, extractor: Extractor, outputs: tuple[Output, ...], place: Path) -> None:
        def compute(rows: range) -> Part:
            with in_float32():
                found = extractor(images.rows.read(rows), outputs)
            for output, values in found.items():
                if not np.isfinite(values).all():
                    bad = rows[int(np.flatnonzero(~np.isfinite(values).reshape(len(rows), -1).all(1))[0])]
                    raise ValueError(f"{images.title}: image {bad} has {output} that are not finite.")
            return {output: values.astype(np.float32, copy=False) for output, values in found.items()}

        parts = Parts(place / "parts", self.processes)
        todo = list(batches(images.count, self.batch_size))
        with parts.until_written():
            found = parts.each(
                "-".join(outputs),
                todo,
                compute,
                names=None if self.processes.is_main else (),
            )
            if self.processes.is_main:
                with contextlib.ExitStack() as stack:
                    files = {
                        output: stack.enter_context(_appending(place / f"{output}.npy", images.count))
                        for output in outputs
                    }
                    for part in found:
                        for output, add in files.items():
                            add(part[output])
            else:
                collections.deque(found, maxlen=0)
            self.processes.barrier()  # the files are there


@contextlib.contextmanager
def _appending(path: Path, count: int) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends rows (B, D) to an ``.npy`` of so many, which is there when the block ends."""
    with atomic(path) as partial, partial.open("wb") as file:
        begun = False

        def add(rows: np.ndarray) -> None:
            nonlocal begun
            if not begun:
                header = {"descr": rows.dtype.str, "fortran_order": False, "shape": (count, *rows.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
                begun = True
            file.write(np.ascontiguousarray(rows).data)

        yield add
