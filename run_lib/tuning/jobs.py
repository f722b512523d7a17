"""The work of a sweep: sets of samples, each drawn and scored once, by one process or several."""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from run_lib.computing.allocation import keep_freed_memory
from run_lib.computing.numerics import AS_THEY_ARE, Compilation
from run_lib.config.sampling import SamplingPlan
from run_lib.config.settings import TuneSettings
from run_lib.config.sweep import Candidate
from run_lib.config.tuning import plan_candidate, scorer_of
from run_lib.data.classes import numbered
from run_lib.data.packed import read_array
from run_lib.faults import MachineError
from run_lib.files import atomic, read_json, write_json
from run_lib.output.progress import Progress
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import LostSamplesError, batches, draw
from run_lib.seeds import Use
from run_lib.stopping import end_with_parent, finishing
from run_lib.training.state import Weights
from run_lib.tuning.scores import Score, Scorer
from run_lib.tuning.stored_grids import with_stored_grid


@dataclass(frozen=True)
class Scored:
    """One set of samples: its scores, the evaluations of each sample and the seconds of all.

    ``lost`` are the indices of samples that are not finite; a set that has any has no scores.
    """

    scores: tuple[Score, ...]
    nfe: int
    seconds: float
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class ScoreFiles:
    """A folder with a file for each set that is scored, and one for each candidate's first samples."""

    folder: Path

    def _file(self, candidate: Candidate, repeat: int, ending: str) -> Path:
        name = re.sub(r"[^\w.=+-]", "_", candidate.exact)
        return self.folder / f"{name}_{repeat:03d}.{ending}"

    def read(self, candidate: Candidate, repeat: int) -> Scored | None:
        """What was scored; None where it is not, or only in part."""
        path = self._file(candidate, repeat, "json")
        if not path.is_file():
            return None
        try:
            held = read_json(path)
            return Scored(
                tuple(Score(**s) for s in held["scores"]),
                held["nfe"],
                held["seconds"],
                tuple(held.get("lost", ())),
            )
        except (ValueError, KeyError, TypeError):
            if Processes.from_environment().is_main:
                print(f"note: {path} is damaged: its set is scored again", file=sys.stderr)
            return None

    def write(self, candidate: Candidate, repeat: int, scored: Scored) -> None:
        write_json(self._file(candidate, repeat, "json"), asdict(scored))

    def write_samples(self, candidate: Candidate, samples: np.ndarray) -> None:
        with atomic(self._file(candidate, 0, "npy")) as partial, partial.open("wb") as file:
            np.save(file, samples)

    def samples(self, candidate: Candidate) -> np.ndarray | None:
        """The first samples of the candidate's first set; None where some of the set are not finite."""
        path = self._file(candidate, 0, "npy")
        return read_array(path) if path.is_file() else None


@dataclass(frozen=True)
class Work:
    """What every process is told.

    Attributes:
        values: the configuration as plain data, of which each process builds its plans.
        settings: numbers and sizes.
        run: the folders.
        step: of the checkpoint; None where there is none.
        parts: where results go.
        compiled: what was decided to compile, for all settings alike.
    """

    values: Mapping[str, Any]
    settings: TuneSettings
    run: Run
    step: int | None
    parts: ScoreFiles
    compiled: Compilation = AS_THEY_ARE


class Worker:
    """Draws and scores sets. Its results depend on the set alone: one thread a process, the seeds of the set.

    All candidates have one network, which is loaded once, and compiled once if it is.

    Args:
        work: what to do it on.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._candidate: Candidate | None = None
        self._plan: SamplingPlan | None = None
        self._weights: Weights | None = None
        self._scorer: Scorer | None = None

    def score(self, candidate: Candidate, repeat: int) -> None:
        """Draw set ``repeat`` under the candidate's settings, score it and write it down."""
        with _one_thread():
            plan, weights = self._turn_to(candidate)
            tuning = self._work.settings
            if self._scorer is None:
                self._scorer = scorer_of(self._work.values, plan.data, tuning.num_samples, plan.device)
            started, first = time.perf_counter(), repeat * tuning.num_samples
            try:
                with weights.averaged():
                    drawn = [
                        draw(plan, range(first + rows.start, first + rows.stop), Use.TUNING)
                        for rows in batches(tuning.num_samples, plan.settings.batch_size)
                    ]
            except LostSamplesError as error:
                seconds = time.perf_counter() - started
                self._work.parts.write(candidate, repeat, Scored((), 0, seconds, error.indices))
                return
            seconds = time.perf_counter() - started
            samples = np.concatenate([batch.levels.numpy() for batch in drawn])
            scored = Scored(self._scorer.scores(samples), drawn[0].nfe, seconds)
        if repeat == 0:
            self._work.parts.write_samples(candidate, samples[: max(tuning.rows, 1)])
        self._work.parts.write(candidate, repeat, scored)

    def _turn_to(self, candidate: Candidate) -> tuple[SamplingPlan, Weights]:
        if self._plan is None or self._weights is None or candidate != self._candidate:
            work, before = self._work, None if self._plan is None else self._plan.subject
            plan = plan_candidate(work.values, candidate, work.compiled, before)
            plan = plan.subject.placement.place(plan)
            if self._weights is None or self._weights.network is not plan.subject.network:
                self._weights = work.run.weights(plan.subject, work.step)
            plan = numbered(plan, self._weights.numbering)
            self._plan = with_stored_grid(plan, work.run.stored_grids(work.step), self._weights)
            self._candidate = candidate
        return self._plan, self._weights


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are added in another order by another number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class SampleSet:
    """A set to draw and score."""

    candidate: Candidate
    repeat: int


def do(work: Work, tasks: list[SampleSet], processes: int) -> None:
    """Do the tasks, so many at a time; what is done is written, so that the rest can go on from there."""
    with (
        Progress("tuning", len(tasks), "set") as bar,
        finishing("every set that is begun") as stop,
    ):
        if min(processes, len(tasks)) <= 1:
            worker = Worker(work)
            for task in tasks:
                worker.score(task.candidate, task.repeat)
                bar.add()
                stop.leave()
            return
        # Fresh interpreters: forked ones would share CUDA's state and locks that threads held.
        pool = ProcessPoolExecutor(
            min(processes, len(tasks)), multiprocessing.get_context("spawn"), _start, (work,)
        )
        try:
            for done in as_completed([pool.submit(_score, task) for task in tasks]):
                done.result()
                bar.add()
                stop.leave()
        except BrokenProcessPool as error:
            raise MachineError(
                f"one of the {processes} processes was ended from outside, most often for want of memory: lower "
                f"config.tune.processes. The same command scores the rest."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_worker: Worker


def _start(work: Work) -> None:
    global _worker
    keep_freed_memory()
    end_with_parent()
    _worker = Worker(work)


def _score(task: SampleSet) -> None:
    _worker.score(task.candidate, task.repeat)
