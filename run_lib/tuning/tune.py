"""``--mode tune``: which settings of the sampler give the best samples, and which are as good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from run_lib.config.sweep import Candidate, Sweep
from run_lib.config.tuning import TuningPlan, scorer_of
from run_lib.data.classes import numbered
from run_lib.evaluation.report import IncompleteError
from run_lib.files import write_json
from run_lib.fingerprint import basis_of_samples, of_files
from run_lib.ours import check_unused, record_of
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import LostSamplesError
from run_lib.tuning.comparison import compare
from run_lib.tuning.jobs import SampleSet, Scored, ScoreFiles, Work, do
from run_lib.tuning.report import draw_picture, draw_plot, write_table
from run_lib.tuning.results import CandidateScores, SweepResult
from run_lib.tuning.stored_grids import make_grid
from sde_lib.words import digits


def tune(plan: TuningPlan, run: Run) -> None:
    """Sweep ``tune.sweep``, or with ``tune.grid`` find and store an optimised time grid.

    Raises:
        ValueError: a folder that holds another sweep; workers of each of several processes.
        IncompleteError: all is done and written, but samples of a setting are not finite.
    """
    processes, own = Processes.from_environment(), plan.settings.processes
    if processes.world_size > 1 and own > 1:
        raise ValueError(
            f"the {processes.world_size} processes that were launched share the sets, and config.tune.processes={own} "
            f"has one process start so many of its own: set it to 1, or start without torchrun."
        )
    with processes.process_group():
        if plan.sweep is not None:
            _sweep(plan, plan.sweep, run, processes)
        elif processes.is_main:  # the others have nothing to do: each step of the search needs the one before
            _find_grid(plan, run)
        processes.barrier()


def _sweep(plan: TuningPlan, sweep: Sweep, run: Run, processes: Processes) -> None:
    settings, data = plan.settings, plan.sampling.data
    scorer = scorer_of(plan.values, data, settings.num_samples, plan.sampling.device)
    ranked_by = scorer.metric(settings.metric)

    weights = run.weights(plan.sampling.subject)
    plan = numbered(plan, weights.numbering)
    with weights.averaged():
        of = basis_of_samples(
            plan.sampling, ("train", "test") if plan.scorer.takes & {"real", "spaces"} else ()
        )
    if _takes_stored_times(plan, sweep):
        of = of.with_parts(times=of_files([run.stored_grids()]) if run.stored_grids().is_file() else "none")
    folder = run.folder(settings.folder, "config.tune.folder")
    with processes.main_first():
        if processes.is_main:
            _same_settings(folder / "settings.json", {**plan.depends_on, **of.parts, **scorer.protocol})
    parts = ScoreFiles(folder / "parts")
    tasks = [
        SampleSet(candidate, repeat)
        for candidate in sweep.candidates
        for repeat in range(settings.repeats)
        if parts.read(candidate, repeat) is None
    ]
    if not tasks:
        print(f"tuning: nothing is left to do: {parts.folder} has the scores of every set")
    step = weights.step if run.checkpoints.latest() is not None else None
    processes.barrier()  # all have read what there is
    own = [tasks[k] for k in processes.own_batches(len(tasks))]
    compiled = plan.sampling.arithmetic.compiled
    do(Work(plan.values, settings, run, step, parts, compiled), own, settings.processes)
    processes.barrier()

    metrics = len(scorer.metrics)
    rows = tuple(
        _row(c, [_scored(parts, c, r) for r in range(settings.repeats)], metrics) for c in sweep.candidates
    )
    if all(row.failed for row in rows):
        raise IncompleteError(f"no setting of the sweep has a score. {_failures(rows)}")
    index = scorer.metrics.index(ranked_by)
    losses = np.stack([ranked_by.loss(row.values[index]) for row in rows])
    result = SweepResult(
        sweep, scorer.metrics, ranked_by, rows, compare(losses, settings.confidence), settings.confidence
    )
    if processes.is_main:
        _write(result, plan, parts, folder)
    if any(row.failed for row in rows):
        raise IncompleteError(
            f"settings of the sweep have no score, and are none to choose. {_failures(rows)}"
        )


def _write(result: SweepResult, plan: TuningPlan, parts: ScoreFiles, folder: Path) -> None:
    settings, data = plan.settings, plan.sampling.data.shown
    write_table(result, folder)
    draw_plot(result, folder / "plot.png")
    if settings.rows:
        draw_picture(result.sweep, parts, data, settings.rows, folder / "picture.png")
    write_json(folder / "best.json", {change.field: change.value for change in result.best.changes})
    _print(result, settings.repeats, folder)


def _takes_stored_times(plan: TuningPlan, sweep: Sweep) -> bool:
    """Whether a candidate's times come with the checkpoint; they are those of its own sampler."""
    return plan.sampling.stored_grid or any(
        change.field == "grid" and change.value == "optimised"
        for candidate in sweep.candidates
        for change in candidate.changes
    )


def _find_grid(plan: TuningPlan, run: Run) -> None:
    run.check_checkpoints()
    weights, path = run.weights(plan.sampling.subject), run.stored_grids()
    plan = numbered(plan, weights.numbering)
    with weights.averaged():
        found = make_grid(plan.sampling, plan.settings.pilot_samples, path)
    print(
        f"times for {found.purpose}: {', '.join(f'{t:.4g}' for t in found.times)}\n"
        f"root mean square error of {found.samples} pilot samples {digits(found.error, 3)}; where the search began "
        f"{digits(found.before, 3)}; {found.nfe} evaluations of each\n"
        f"  stored     {path}: use them with --config.sampling.grid=optimised"
    )


def _same_settings(path: Path, kept: dict[str, Any]) -> None:
    """Write down what the folder's scores are of, or see that it is the same.

    Raises:
        ValueError: it is not; naming what differs.
    """
    held = record_of(path, "tune", ("sweep over", "weights"))
    if held is None:
        check_unused(path.parent, "config.tune.folder=NAME")
    else:
        different = [key for key in {**held, **kept} if held.get(key) != kept.get(key)]
        if different:
            what = "; ".join(f"{key} was {held.get(key)!r}, is {kept.get(key)!r}" for key in different[:4])
            raise ValueError(
                f"{path.parent} holds scores of other settings ({what}): take another folder with "
                f"--config.tune.folder=NAME, or move that one away."
            )
    write_json(path, kept)


def _scored(parts: ScoreFiles, candidate: Candidate, repeat: int) -> Scored:
    found = parts.read(candidate, repeat)
    assert found is not None, "every task was done"
    return found


def _row(candidate: Candidate, sets: list[Scored], metrics: int) -> CandidateScores:
    nothing = [math.nan] * metrics
    values = np.array([[score.value for score in s.scores] if s.scores else nothing for s in sets]).T
    scored = [s.nfe for s in sets if not s.lost]
    lost = tuple(index for s in sets for index in s.lost)
    nfe, seconds = float(np.mean(scored)) if scored else 0.0, float(np.sum([s.seconds for s in sets]))
    return CandidateScores(candidate, values, nfe, seconds, lost)


def _failures(rows: Sequence[CandidateScores]) -> str:
    failed = [
        f"{row.candidate}: {LostSamplesError(row.lost) if row.lost else 'a score is not finite'}"
        for row in rows
        if row.failed
    ]
    return "; ".join(failed)


def _span(field: str, run: Sequence[Candidate]) -> str:
    return f"{field} from {run[0][field]:g} to {run[-1][field]:g}" if len(run) > 1 else str(run[0])


def _print(result: SweepResult, repeats: int, folder: Path) -> None:
    percent = f"{100 * result.confidence:g} %"
    width = max(len(str(row.candidate)) for row in result.rows)
    heads = [m.name for m in result.metrics]
    print(f"\n{'':{width}}  {'NFE':>6}  " + "  ".join(f"{h:>20}" for h in heads))
    for i, row in enumerate(result.rows):
        if row.failed:
            print(f"{row.candidate!s:{width}}  {'':6}  failed: samples or scores are not finite")
            continue
        cells = [str(row.interval(k, result.confidence)) for k in range(len(heads))]
        mark = "best" if i == result.comparison.best else "as good" if result.comparison.equal[i] else ""
        print(
            f"{row.candidate!s:{width}}  {row.nfe:6g}  " + "  ".join(f"{c:>20}" for c in cells) + f"  {mark}"
        )
    same = ", ".join(map(str, result.as_good))
    if result.sweep.numeric:
        same = " and ".join(_span(result.sweep.fields[0], run) for run in result.runs)
    edge = "the best lies at the edge of the sweep: widen it\n" if result.at_the_edge else ""
    print(
        f"\nintervals: Student's t at {percent} over {repeats} seeds; 'as good': the paired difference to the best, "
        f"seed by seed, may be zero, at {percent} for all settings together\n"
        f"best by {result.ranked_by.name}: {result.best}\n"
        f"cannot be told from it: {same}\n{edge}"
        f"  table      {folder / 'table.csv'}, table.json\n  plot       {folder / 'plot.png'}\n"
        f"  settings   {folder / 'best.json'}: use them with --config.sampling={folder / 'best.json'}"
    )
