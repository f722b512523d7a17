"""``--mode tune``: which settings of the sampler give the best samples, and which are as good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from run_lib.config.sweep import Candidate, Sweep
from run_lib.config.tuning import TuningPlan, build_scorer
from run_lib.files import write_json
from run_lib.fingerprint import fingerprint
from run_lib.ours import check_unused, record_of
from run_lib.run import Run
from run_lib.tuning.comparison import compare
from run_lib.tuning.jobs import SampleSet, Scored, ScoreFiles, Work, do
from run_lib.tuning.report import draw_picture, draw_plot, write_table
from run_lib.tuning.results import CandidateScores, SweepResult
from run_lib.tuning.stored_grids import make_grid


def tune(plan: TuningPlan, run: Run) -> None:
    """Sweep ``tune.sweep``, or with ``tune.grid`` find and store an optimised time grid.

    Raises:
        ValueError: a folder that holds another sweep.
    """
    if plan.sweep is None:
        _find_grid(plan, run)
    else:
        _sweep(plan, plan.sweep, run)


def _sweep(plan: TuningPlan, sweep: Sweep, run: Run) -> None:
    settings, data = plan.settings, plan.sampling.data
    scorer = build_scorer(plan.scorer, data, settings.num_samples)
    ranked_by = scorer.metric(settings.metric)

    weights = run.weights(plan.sampling.subject)
    with weights.averaged():
        of_weights = fingerprint(weights.network)
    folder = run.folder(settings.folder, "config.tune.folder")
    _same_settings(folder / "settings.json", {**plan.depends_on, "weights": of_weights})
    parts = ScoreFiles(folder / "parts")
    tasks = [
        SampleSet(candidate, repeat)
        for candidate in sweep.candidates
        for repeat in range(settings.repeats)
        if parts.read(candidate, repeat) is None
    ]
    step = weights.step if run.checkpoints.latest() is not None else None
    do(Work(plan.values, settings, run, step, parts), tasks, settings.processes)

    rows = tuple(_row(c, [_scored(parts, c, r) for r in range(settings.repeats)]) for c in sweep.candidates)
    index = scorer.metrics.index(ranked_by)
    losses = np.stack([ranked_by.loss(row.values[index]) for row in rows])
    result = SweepResult(
        sweep, scorer.metrics, ranked_by, rows, compare(losses, settings.confidence), settings.confidence
    )
    write_table(result, folder)
    draw_plot(result, folder / "plot.png")
    if settings.rows:
        draw_picture(sweep, parts, data, settings.rows, folder / "picture.png")
    write_json(folder / "best.json", {change.field: change.value for change in result.best.changes})
    _print(result, settings.repeats, folder)


def _find_grid(plan: TuningPlan, run: Run) -> None:
    run.check_checkpoints()
    weights, path = run.weights(plan.sampling.subject), run.stored_grids()
    with weights.averaged():
        found = make_grid(plan.sampling, plan.settings.pilot_samples, path)
    print(
        f"times for {found.purpose}: {', '.join(f'{t:.4g}' for t in found.times)}\n"
        f"root mean square error of {found.samples} pilot samples {found.error:.3g}; where the search began "
        f"{found.before:.3g}; {found.nfe} evaluations of each\n"
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
                f"--config.tune.folder=NAME, or delete that one."
            )
    write_json(path, kept)


def _scored(parts: ScoreFiles, candidate: Candidate, repeat: int) -> Scored:
    found = parts.read(candidate, repeat)
    assert found is not None, "every task was done"
    return found


def _row(candidate: Candidate, sets: list[Scored]) -> CandidateScores:
    values = np.array([[score.value for score in s.scores] for s in sets]).T
    return CandidateScores(
        candidate, values, float(np.mean([s.nfe for s in sets])), float(np.sum([s.seconds for s in sets]))
    )


def _print(result: SweepResult, repeats: int, folder: Path) -> None:
    percent = f"{100 * result.confidence:g} %"
    width = max(len(str(row.candidate)) for row in result.rows)
    heads = [m.name for m in result.metrics]
    print(f"\n{'':{width}}  {'NFE':>6}  " + "  ".join(f"{h:>20}" for h in heads))
    for i, row in enumerate(result.rows):
        cells = [str(row.interval(k, result.confidence)) for k in range(len(heads))]
        mark = "best" if i == result.comparison.best else "as good" if result.comparison.equal[i] else ""
        print(
            f"{row.candidate!s:{width}}  {row.nfe:6g}  " + "  ".join(f"{c:>20}" for c in cells) + f"  {mark}"
        )
    as_good = result.as_good
    if result.sweep.numeric:
        field = result.sweep.fields[0]
        same = f"{field} from {as_good[0][field]:g} to {as_good[-1][field]:g}"
    else:
        same = ", ".join(map(str, as_good))
    edge = "the best lies at the edge of the sweep: widen it\n" if result.at_the_edge else ""
    print(
        f"\nintervals: Student's t at {percent} over {repeats} seeds; 'as good': the paired difference to the best, "
        f"seed by seed, is within its own\n"
        f"best by {result.ranked_by.name}: {result.best}\n"
        f"cannot be told from it: {same}\n{edge}"
        f"  table      {folder / 'table.csv'}, table.json\n  plot       {folder / 'plot.png'}\n"
        f"  settings   {folder / 'best.json'}: use them with --config.sampling={folder / 'best.json'}"
    )
