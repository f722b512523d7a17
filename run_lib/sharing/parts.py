"""Batches of a work that processes share: each computes some, and reads from files what the others have computed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from run_lib.data.packed import PackedError, read_arrays
from run_lib.faults import naming
from run_lib.files import atomic
from run_lib.output.progress import Progress
from run_lib.processes import Processes
from run_lib.stopping import finishing, promising
from sde_lib.words import digits

KEPT = "the batches that are done are kept, and the same command goes on after them"
FOLDER = ".unfinished"
"""Of the files of results that are written when all batches are done."""
Part: TypeAlias = dict[str, np.ndarray]
"""What a batch gave: plain arrays by name, and in ``seconds`` the time that it took."""


@dataclass(frozen=True)
class Finds:
    """A number that batches find, of which the progress shows the mean so far.

    Attributes:
        name: of it, such as ``"loss"``.
        of: its values in a batch, one for each sample.
    """

    name: str
    of: Callable[[Part], np.ndarray]


@dataclass(frozen=True)
class Parts:
    """A file for each batch that is done, by which processes give it to each other, and a run goes on with it.

    Attributes:
        folder: of the files; None: there are none.
        processes: which share the batches.
        writes: whether files are written; one process can do without, and still reads those that it finds.
    """

    folder: Path | None = None
    processes: Processes = field(default_factory=Processes)
    writes: bool = True

    @classmethod
    def unfinished(cls, results: Path, key: str, processes: Processes) -> Parts:
        """Those of results that are written when all batches are done; without processes to share them, no files.

        Args:
            results: their folder.
            key: a name for all that the batches depend on.
            processes: which share them.
        """
        return cls(results / FOLDER / key, processes, writes=processes.world_size > 1)

    @contextmanager
    def until_written(self, *, anew: bool = False) -> Iterator[None]:
        """A block in which the batches are done and the results written; at its end the files go.

        Args:
            anew: let them go at its beginning, too: an interrupted run is not gone on with.
        """
        if anew:
            with self.processes.main_first():
                self.remove()
        with promising(KEPT if self.writes and not anew else ""):
            yield
        self.remove()

    def remove(self) -> None:
        """Remove the files, which all processes have read, and those that interrupted runs of other settings left."""
        if not self.processes.is_main or self.folder is None or not self.folder.parent.is_dir():
            return
        with naming(self.folder.parent):
            for path in self.folder.parent.glob("*/*.npz"):
                path.unlink()
            for folder in (*self.folder.parent.iterdir(), self.folder.parent):
                with suppress(OSError):  # it holds what is not ours
                    folder.rmdir()

    def each(
        self,
        name: str,
        todo: Sequence[range],
        compute: Callable[[range], Part],
        *,
        by_turns: bool = False,
        last: Callable[[Part], bool] | None = None,
        names: Sequence[str] | None = None,
        sized: bool = True,
        finds: Finds | None = None,
    ) -> Iterator[Part]:
        """What each batch gave, in their order, whoever has computed it.

        Args:
            name: of the work, for its files and its progress.
            todo: rows of each batch.
            compute: does a batch.
            by_turns: compute a batch in each process before the first of them is yielded, for work that may end
                early; otherwise nobody waits before all are done.
            last: whether a batch is one after which there are no others.
            names: the arrays that are read of batches of other processes; None: all.
            sized: whether users choose the size of a batch, and so are told where there are too few.
            finds: what the progress tells beside rate and time.
        """
        count = self.processes.world_size
        if sized and 0 < len(todo) < count:
            print(f"{name}: {len(todo)} batches for {count} processes; a lower batch size shares them out")
        stride = count if by_turns or count == 1 else max(1, len(todo))

        def done(index: int, wanted: Sequence[str] | None = None) -> Part:
            return self.batch(name, todo[index].start, lambda: compute(todo[index]), wanted)

        values: list[np.ndarray] = []
        with Progress(name, len(todo), "batch") as bar:
            for first in range(0, len(todo), stride):
                turn = range(first, min(first + stride, len(todo)))
                held: dict[int, Part] = {}
                for i in (turn[k] for k in self.processes.own_batches(len(turn))):
                    part = done(i)
                    bar.add(min(count, len(todo) - bar.done))
                    if finds is not None:
                        found = finds.of(part)
                        values.append(found[np.isfinite(found)])
                        if (so_far := np.concatenate(values)).size:
                            bar.say(**{finds.name: digits(so_far.mean(), 4)})
                    if count == 1:
                        held[i] = part
                    if last is not None and last(part):
                        break
                self.processes.barrier()
                for i in turn:
                    part = held.pop(i) if i in held else done(i, names)
                    yield part
                    if last is not None and last(part):
                        self.processes.barrier()
                        return
        self.processes.barrier()  # all have read what there is

    def batch(
        self, name: str, first: int, compute: Callable[[], Part], names: Sequence[str] | None = None
    ) -> Part:
        """What the batch of a first row gave: read if it is there, else computed and written."""
        if self.folder is None:
            return _timed(compute)
        path = self.folder / f"{name}_{first:05d}.npz"
        if path.is_file():
            try:
                return read_arrays(path, names)
            except PackedError as error:
                print(f"note: {path} {error}: it is computed again", file=sys.stderr)
        if not self.writes:
            return _timed(compute)
        with finishing("the batch") as stop:
            arrays = _timed(compute)
            with atomic(path) as partial, partial.open("wb") as file:
                np.savez(file, **arrays)
            stop.leave()
        return arrays


def _timed(compute: Callable[[], Part]) -> dict[str, Any]:
    started = time.perf_counter()
    arrays: dict[str, Any] = dict(compute())
    arrays["seconds"] = np.array(time.perf_counter() - started)
    return arrays


def joined(parts: Sequence[Part]) -> Part:
    """The arrays of all batches, one after the other; ``seconds`` is their sum."""
    found = {key: np.concatenate([p[key] for p in parts]) for key in parts[0] if key != "seconds"}
    return {**found, "seconds": np.sum([p["seconds"] for p in parts])}
