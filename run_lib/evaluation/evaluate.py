"""Evaluation of checkpoints: loss, bits/dim, samples. Every number goes into one report, and none is made twice."""

from __future__ import annotations

import sys
from dataclasses import replace

from run_lib.config.evaluation import EvaluationPlan, in_order
from run_lib.data.classes import in_quotes, numbered
from run_lib.data.listing import announce
from run_lib.evaluation.base import Evaluation, register_evaluation
from run_lib.evaluation.checkpoints import write_checkpoints
from run_lib.evaluation.report import IncompleteError, Lost, Report
from run_lib.evaluation.task import CheckpointTask
from run_lib.fingerprint import Basis, basis_of, basis_of_samples
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
    if (data := plan.data.load_if_any(settings.split, "what is evaluated on it")) is not None:
        task.check(data, f"the {settings.split} split of {plan.data.name}")
    if not task.generates and not any(one.of_classifiers for one in plan.evaluations):
        raise ValueError(
            "eval.enable_accuracy is for training.task='classifier', and goes with it: set it to True."
        )
    for one in possible(plan):
        one.check(plan)


def possible(plan: EvaluationPlan) -> list[Evaluation]:
    """The evaluations whose split the data set has.

    Raises:
        MissingSplitError: there are none.
    """
    lacking = {split for split in ("train", "test") if not plan.data.has(split)}
    found = [one for one in plan.evaluations if not lacking.intersection(one.needs(plan))]
    if not found:
        plan.data.load(min(lacking))
    return found


def evaluate(plan: EvaluationPlan, run: Run) -> None:
    """Run every enabled evaluation on every chosen checkpoint.

    Raises:
        ValueError: nothing enabled, no checkpoint, missing data.
        IncompleteError: all is done and written, but images are missing from a number; the exit status is 3.
    """
    check(plan)
    config_hash = plan.subject.record.hash
    folder = run.evaluation
    # A report is checked when it is read; parts without one are of a run that was stopped, or whose report was deleted.
    if not (folder / "report.json").is_file() and not any((folder / "parts").glob("*-????????????????")):
        check_unused(folder, "eval_folder", allowed=("parts",))
    processes = Processes.from_environment()
    lost: list[Lost] = []
    with processes.process_group():
        report = Report(folder / "report.json", processes.is_main)
        processes.barrier()  # until all have read what there is
        for step in _steps(plan, run):
            weights = run.weights(plan.subject, step)
            plan = numbered(plan, weights.numbering)
            if names := plan.data.numbering.names:
                report.classes = list(names)
                announce(f"classes of labels 0 to {len(names) - 1}: {in_quotes(names)}")
            loaded = plan
            if plan.sampling is not None:
                stored = with_stored_grid(plan.sampling, run.stored_grids(step), weights)
                loaded = replace(plan, sampling=stored)
            arithmetic = plan.subject.placement.evaluation
            with weights.averaged(), arithmetic.used():
                of = _basis(loaded)
                stale = report.begin(weights.step, config_hash, of)
                if stale and processes.is_main:
                    print(f"note: {stale}", file=sys.stderr)
                held = len(report.of(weights.step, config_hash, of.hash))
                parts = folder / "parts" / f"{weights.step}-{of.hash}"
                for one in possible(plan):
                    one.evaluate(CheckpointTask(loaded, weights, report, parts, processes, of.hash))
            if held and held == len(report.of(weights.step, config_hash, of.hash)):
                print(
                    f"evaluation: nothing is left to do: {report.path} has every number of step {weights.step}"
                )
            _summary(report, weights.step, config_hash, of.hash, arithmetic.on(plan.device))
            lost += report.lost(weights.step, config_hash, of.hash)
        if processes.is_main:
            write_checkpoints(report, config_hash, run.workdir / "tensorboard" / run.eval_folder)
        print(f"report: {report.path}")
    if lost:
        samples = [one for one in lost if one.what == "sample"]
        things = "image" if not samples else "sample" if len(samples) == len(lost) else "image or sample"
        number = "likelihood" if all(one.likelihood for one in lost) else "number"
        raise IncompleteError(
            f"{len(lost)} {things}{'s have' if len(lost) > 1 else ' has'} no {number}, of those asked for; which and "
            f"why is above and in {report.path}. "
            + ("Samples are not measured where one is lost." if samples else "The numbers are of the others.")
        )


def _basis(plan: EvaluationPlan) -> Basis:
    """What the numbers depend on: the averaged weights, which the network has now, the configuration and all else."""
    splits = {split for one in possible(plan) for split in one.splits(plan)}
    if plan.sampling is None:
        found = basis_of(plan.subject, task=plan.task, splits=splits)
    else:
        found = basis_of_samples(plan.sampling, splits)
    return found.with_parts(configuration=plan.subject.record.hash)


def _steps(plan: EvaluationPlan, run: Run) -> list[int | None]:
    """Checkpoints to evaluate: a list of steps, a range of snapshots, or (None) the latest.

    Configurations of score_sde name a range of their training's; where there are published weights in its place, and no
    snapshot, those are evaluated.
    """
    settings, every, given = plan.settings, plan.snapshot_freq, plan.subject.start.init_from
    if settings.checkpoints:
        return list(settings.checkpoints)
    if settings.begin_ckpt and given and run.checkpoints.latest() is None:
        if Processes.from_environment().is_main:
            print(
                f"note: the work directory has no checkpoints, of which eval.begin_ckpt={settings.begin_ckpt} counts "
                f"some: the weights of {given} are evaluated",
                file=sys.stderr,
            )
        return [None]
    if settings.begin_ckpt:
        return [
            n * every for n in range(settings.begin_ckpt, max(settings.begin_ckpt, settings.end_ckpt) + 1)
        ]
    return [None]


def _summary(report: Report, step: int, config_hash: str, fingerprint: str, arithmetic: str) -> None:
    numbers = report.of(step, config_hash, fingerprint)
    width = max((len(n.name) for n in numbers), default=0)
    print(f"\ncheckpoint of step {step}, in {arithmetic}")
    for n in numbers:
        print(f"  {n.name:<{width}}  {n}{'   ' + n.note if n.note else ''}")
    lost = report.lost(step, config_hash, fingerprint)
    for image in lost[:SHOWN]:
        print(f"  {image}")
    if len(lost) > SHOWN:
        print(f"  and {len(lost) - SHOWN} more: see {report.path}")
