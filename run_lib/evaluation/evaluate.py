"""Evaluation of checkpoints: loss, bits/dim, samples. Every number goes into one report, and none is made twice."""

from __future__ import annotations

from dataclasses import replace

from run_lib.config.evaluation import EvaluationPlan, in_order
from run_lib.evaluation.base import register_evaluation
from run_lib.evaluation.report import IncompleteError, Report
from run_lib.evaluation.task import CheckpointTask
from run_lib.ours import check_unused
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.tuning.stored_grids import with_stored_grid

SHOWN = 20
"""Lost images that are printed; the report has all of them."""


def check(plan: EvaluationPlan) -> None:
    """Refuse an evaluation that cannot be done, before any work.

    Raises:
        ValueError: nothing enabled, missing data, numbers that do not fit the data or the process.
    """
    settings, task = plan.settings, plan.task
    if not plan.evaluations:
        switches = ", ".join(f"--config.eval.enable_{name}" for name in in_order(register_evaluation))
        raise ValueError(f"nothing to evaluate: set one of {switches}.")
    task.check(plan.data.load(settings.split), f"the {settings.split} split of {plan.data.name}")
    if not task.generates and not any(one.of_classifiers for one in plan.evaluations):
        raise ValueError(
            "eval.enable_accuracy is for training.task='classifier', and goes with it: set it to True."
        )
    for one in plan.evaluations:
        one.check(plan)


def evaluate(plan: EvaluationPlan, run: Run) -> None:
    """Run every enabled evaluation on every chosen checkpoint.

    Raises:
        ValueError: nothing enabled, no checkpoint, missing data.
        IncompleteError: all is done and written, but images are missing from a number; the exit status is 3.
    """
    check(plan)
    config_hash = plan.subject.record.hash
    folder = run.folder(run.eval_folder, "eval_folder")
    if not (folder / "report.json").is_file():  # which is checked when it is read
        check_unused(folder, "eval_folder", allowed=("parts",))
    processes, lost = Processes.from_environment(), 0
    with processes.process_group():
        report = Report(folder / "report.json", processes.is_main)
        processes.barrier()  # until all have read what there is
        for step in _steps(plan):
            weights = run.weights(plan.subject, step)
            loaded = plan
            if plan.sampling is not None:
                loaded = replace(plan, sampling=with_stored_grid(plan.sampling, run.stored_grids(step)))
            parts = folder / "parts" / f"{weights.step}-{config_hash}"
            with weights.averaged():
                for one in plan.evaluations:
                    one.evaluate(CheckpointTask(loaded, weights, report, parts, processes))
            _summary(report, weights.step, config_hash)
            lost += len(report.lost(weights.step, config_hash))
        print(f"report: {report.path}")
    if lost:
        raise IncompleteError(
            f"{lost} image{'s have' if lost > 1 else ' has'} no likelihood, of those asked for; which and why is "
            f"above and in {report.path}. The numbers are of the others."
        )


def _steps(plan: EvaluationPlan) -> list[int | None]:
    """Checkpoints to evaluate: a list of steps, a range of snapshots, or (None) the latest."""
    settings, every = plan.settings, plan.snapshot_freq
    if settings.checkpoints:
        return list(settings.checkpoints)
    if settings.begin_ckpt:
        return [
            n * every for n in range(settings.begin_ckpt, max(settings.begin_ckpt, settings.end_ckpt) + 1)
        ]
    return [None]


def _summary(report: Report, step: int, config_hash: str) -> None:
    numbers = report.of(step, config_hash)
    width = max((len(n.name) for n in numbers), default=0)
    print(f"\ncheckpoint of step {step}")
    for n in numbers:
        print(f"  {n.name:<{width}}  {n}{'   ' + n.note if n.note else ''}")
    lost = report.lost(step, config_hash)
    for image in lost[:SHOWN]:
        print(f"  {image.name}: image {image.index} has no likelihood: {image.reason}")
    if len(lost) > SHOWN:
        print(f"  and {len(lost) - SHOWN} more: see {report.path}")
