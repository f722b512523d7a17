"""``--mode tune``: which settings of the sampler give the best samples, and which are as good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from run_lib.config.experiment import Experiment
from run_lib.files import write_json
from run_lib.fingerprint import fingerprint
from run_lib.run import Run
from run_lib.tuning.comparison import compare
from run_lib.tuning.jobs import Parts, Scored, Task, Work, do
from run_lib.tuning.report import draw_picture, draw_plot, write_table
from run_lib.tuning.results import Findings, Row
from run_lib.tuning.scorers import scorer_of
from run_lib.tuning.stored_grids import make_grid
from run_lib.tuning.sweep import Candidate, Sweep, parse_sweep, variant

IRRELEVANT = {
    "sampling": ("num_samples", "grid_size", "trajectory"),
    "tune": ("sweep", "repeats", "metric", "confidence", "processes", "folder", "grid", "pilot_samples"),
}
"""Fields that do not change the score of a set."""
SECTIONS = (
    "seed",
    "plugins",
    "data",
    "model",
    "sampling",
    "tune",
    "init_from",
    "init_from_ema",
    "resume_from",
)


def tune(run: Run) -> None:
    """Sweep ``tune.sweep``, or with ``tune.grid`` find and store an optimised time grid.

    Raises:
        ValueError: nothing that can be tuned so, before any work; a folder that holds another sweep.
    """
    e, settings = run.experiment, run.experiment.tuning
    if not e.task.generates:
        raise ValueError(
            "a classifier has no samples, so its sampler cannot be tuned: take a training.task that generates."
        )
    if settings.grid:
        _find_grid(run)
        return
    sweep = parse_sweep(settings.sweep)
    for candidate in sweep.candidates:
        _check(candidate, variant(e.values, candidate))
    scorer = scorer_of(e.data, settings.features, settings.num_samples)
    ranked_by = scorer.metric(settings.metric)

    state = run.trained_state(grid=False)
    with state.ema.average(e.network):
        weights = fingerprint(e.network)
    folder = run.workdir / settings.folder
    _same_settings(folder / "settings.json", e, sweep, weights)
    parts = Parts(folder / "parts")
    tasks = [
        Task(candidate, repeat)
        for candidate in sweep.candidates
        for repeat in range(settings.repeats)
        if parts.read(candidate, repeat) is None
    ]
    step = state.step if run.checkpoints.latest() is not None else None
    do(Work(e.values, run.workdir, run.config_file, step, parts), tasks, settings.processes)

    rows = tuple(_row(c, [_scored(parts, c, r) for r in range(settings.repeats)]) for c in sweep.candidates)
    index = scorer.metrics.index(ranked_by)
    losses = np.stack([ranked_by.loss(row.values[index]) for row in rows])
    findings = Findings(
        sweep, scorer.metrics, ranked_by, rows, compare(losses, settings.confidence), settings.confidence
    )
    write_table(findings, folder)
    draw_plot(findings, folder / "plot.png")
    if settings.rows:
        draw_picture(sweep, parts, e.data, settings.rows, folder / "picture.png")
    write_json(folder / "best.json", {change.field: change.value for change in findings.best.changes})
    _print(findings, settings.repeats, folder)


def _find_grid(run: Run) -> None:
    state = run.trained_state(grid=False)
    path = run.grids_path(run.checkpoints.latest())
    with state.ema.average(state.network):
        found = make_grid(run.experiment, path)
    print(
        f"times for {found.purpose}: {', '.join(f'{t:.4g}' for t in found.times)}\n"
        f"root mean square error of {found.samples} pilot samples {found.error:.3g}; where the search began "
        f"{found.before:.3g}; {found.nfe} evaluations of each\n"
        f"  stored     {path}: use them with --config.sampling.grid=optimised"
    )


def _check(candidate: Candidate, e: Experiment) -> None:
    """Refuse a candidate that would change nothing: samples would be equal and the sweep mean nothing."""
    sampling = e.config["sampling"]
    lacking = {"snr", "n_steps_each", "norm"} if sampling["corrector"] == "none" else set()
    for change in candidate.changes:
        if change.field in lacking:
            raise ValueError(
                f"config.tune.sweep varies {change.field}, a setting of the corrector, and sampling.corrector is "
                f"'none': set it, to langevin for example."
            )


def _same_settings(path: Path, e: Experiment, sweep: Sweep, weights: str) -> None:
    """Write down what the folder's scores are of, or see that it is the same.

    Raises:
        ValueError: it is not; naming what differs.
    """
    kept: dict[str, Any] = {"sweep over": ", ".join(sweep.fields), "weights": weights}
    for section in SECTIONS:
        values = e.config[section]
        if not isinstance(values, dict):
            kept[section] = values
            continue
        left_out = (*IRRELEVANT.get(section, ()), *(sweep.fields if section == "sampling" else ()))
        kept |= {f"{section}.{field}": v for field, v in values.items() if field not in left_out}
    kept |= {f"training.{field}": e.config["training"][field] for field in ("sde", "continuous")}
    if path.is_file():
        held = json.loads(path.read_text())
        different = [key for key in {**held, **kept} if held.get(key) != kept.get(key)]
        if different:
            what = "; ".join(f"{key} was {held.get(key)!r}, is {kept.get(key)!r}" for key in different[:4])
            raise ValueError(
                f"{path.parent} holds scores of other settings ({what}): take another folder with "
                f"--config.tune.folder=NAME, or delete that one."
            )
    write_json(path, kept)


def _scored(parts: Parts, candidate: Candidate, repeat: int) -> Scored:
    found = parts.read(candidate, repeat)
    assert found is not None, "every task was done"
    return found


def _row(candidate: Candidate, sets: list[Scored]) -> Row:
    values = np.array([[score.value for score in s.scores] for s in sets]).T
    return Row(
        candidate, values, float(np.mean([s.nfe for s in sets])), float(np.sum([s.seconds for s in sets]))
    )


def _print(findings: Findings, repeats: int, folder: Path) -> None:
    percent = f"{100 * findings.confidence:g} %"
    width = max(len(str(row.candidate)) for row in findings.rows)
    heads = [m.name for m in findings.metrics]
    print(f"\n{'':{width}}  {'NFE':>6}  " + "  ".join(f"{h:>20}" for h in heads))
    for i, row in enumerate(findings.rows):
        cells = [str(row.interval(k, findings.confidence)) for k in range(len(heads))]
        mark = "best" if i == findings.comparison.best else "as good" if findings.comparison.equal[i] else ""
        print(
            f"{row.candidate!s:{width}}  {row.nfe:6g}  " + "  ".join(f"{c:>20}" for c in cells) + f"  {mark}"
        )
    as_good = findings.as_good
    if findings.sweep.numeric:
        field = findings.sweep.fields[0]
        same = f"{field} from {as_good[0][field]:g} to {as_good[-1][field]:g}"
    else:
        same = ", ".join(map(str, as_good))
    edge = "the best lies at the edge of the sweep: widen it\n" if findings.at_the_edge else ""
    print(
        f"\nintervals: Student's t at {percent} over {repeats} seeds; 'as good': the paired difference to the best, "
        f"seed by seed, is within its own\n"
        f"best by {findings.ranked_by.name}: {findings.best}\n"
        f"cannot be told from it: {same}\n{edge}"
        f"  table      {folder / 'table.csv'}, table.json\n  plot       {folder / 'plot.png'}\n"
        f"  settings   {folder / 'best.json'}: use them with --config.sampling={folder / 'best.json'}"
    )
