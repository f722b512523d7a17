"""Evaluation of checkpoints: loss, bits/dim, samples. Every number goes into one report, and none is made twice."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

import likelihood.flow
import likelihood.vlb
from run_lib.config.evaluation import EvaluationPlan
from run_lib.evaluation.bound import evaluate_accuracy, evaluate_vlb
from run_lib.evaluation.ode import evaluate_ode
from run_lib.evaluation.report import IncompleteError, Report
from run_lib.evaluation.restoration import evaluate_restoration
from run_lib.evaluation.samples import evaluate_sampling
from run_lib.evaluation.task import CheckpointTask
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.seeds import Use, stream_seed
from run_lib.statistics import mean
from run_lib.tuning.stored_grids import with_stored_grid
from sde_lib.noise import Noise

SHOWN = 20
"""Lost images that are printed; the report has all of them."""


def check(plan: EvaluationPlan) -> None:
    """Refuse an evaluation that cannot be done, before any work.

    Raises:
        ValueError: nothing enabled, missing data, numbers that do not fit the data or the process.
    """
    settings, task = plan.settings, plan.task
    if not any(getattr(settings, field) for field in TASKS):
        raise ValueError(f"nothing to evaluate: set one of {', '.join(f'--config.eval.{f}' for f in TASKS)}.")
    count = len(plan.data.load(settings.split))
    dims = math.prod(plan.data.shape)
    task.check(plan.data.load(settings.split), f"the {settings.split} split of {plan.data.name}")
    if task.generates == settings.enable_accuracy:
        raise ValueError(
            "eval.enable_accuracy is for training.task='classifier', and goes with it: set it to "
            f"{not task.generates}."
        )
    if settings.enable_restoration and not task.restores_test_images:
        raise ValueError(
            "eval.enable_restoration enlarges test images made small: it goes with training.task='superres' "
            "and an empty sampling.base_samples."
        )
    if not task.generates and (settings.enable_bpd or settings.enable_sampling):
        raise ValueError(
            "a classifier has no likelihood and no samples: set eval.enable_bpd and enable_sampling to False."
        )
    if settings.enable_bpd:
        _check_likelihood(plan)
    if settings.enable_sampling and settings.num_samples <= dims:
        raise ValueError(
            f"eval.num_samples={settings.num_samples} cannot give a covariance of {dims} coordinates; "
            f"ask for more."
        )
    if settings.enable_bpd and settings.bpd_num_images > count:
        raise ValueError(
            f"eval.bpd_num_images={settings.bpd_num_images} but the {settings.split} split has {count}."
        )


def _check_likelihood(plan: EvaluationPlan) -> None:
    settings = plan.settings
    process, name = plan.samples.model.process, type(plan.samples.model.process).__name__
    if settings.bpd_method != "ode" and not isinstance(plan.bound_model.process, likelihood.vlb.NEEDS):
        raise ValueError(
            f"eval.bpd_method={settings.bpd_method!r} bounds the likelihood of a chain of levels, and {name} has "
            f"none, nor a Gaussian marginal to cut them from: set training.sde='ddpm', or bpd_method='ode'."
        )
    if settings.bpd_method != "vlb":
        if not isinstance(process, likelihood.flow.TimeFlow.needs):
            raise ValueError(
                f"eval.bpd_method={settings.bpd_method!r} solves an ODE and needs an SDE; {name} is none. Take "
                f"bpd_method='vlb', or training.sde='vpsde' or 'vesde' with training.continuous=False, which "
                f"share the chain's network."
            )
        if settings.t_min is not None and not process.clean < settings.t_min < process.start:
            raise ValueError(
                f"config.eval.t_min must lie between {process.clean:g} and {process.start:g}, got {settings.t_min}."
            )
        if settings.bpd_divergence == "hutch++" and settings.bpd_rank >= math.prod(plan.data.shape):
            raise ValueError(
                f"eval.bpd_rank={settings.bpd_rank} spans all of {math.prod(plan.data.shape)} dimensions: take "
                "eval.bpd_divergence='exact', which costs less."
            )
    if settings.bpd_dequantisation == "variational":
        if not plan.data.levels:
            raise ValueError(
                "eval.bpd_dequantisation='variational' is of levels, and these data are continuous."
            )
        if not isinstance(process, likelihood.DenoisingBound.needs):
            raise ValueError(
                f"eval.bpd_dequantisation='variational' is trained on a bound that needs a GaussianSDE, and {name} "
                "is none: take 'uniform'."
            )


def evaluate(plan: EvaluationPlan, run: Run) -> None:
    """Run every enabled evaluation on every chosen checkpoint.

    Raises:
        ValueError: nothing enabled, no checkpoint, missing data.
        IncompleteError: all is done and written, but images are missing from a number; the exit status is 3.
    """
    check(plan)
    settings, config_hash = plan.settings, plan.subject.record.hash
    chosen = [task for field, task in TASKS.items() if getattr(settings, field)]
    folder = run.workdir / run.eval_folder
    processes, lost = Processes.of_launcher(), 0
    with processes.together():
        report = Report(folder / "report.json", processes.leads)
        processes.wait()  # until all have read what there is
        for step in _steps(plan):
            weights = run.weights(plan.subject, step)
            loaded = plan
            if plan.sampling is not None:
                loaded = replace(plan, sampling=with_stored_grid(plan.sampling, run.stored_grids(step)))
            parts = folder / "parts" / f"{weights.step}-{config_hash}"
            with weights.averaged():
                for task in chosen:
                    task(CheckpointTask(loaded, weights, report, parts, processes))
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


def evaluate_loss(task: CheckpointTask) -> None:
    """The training loss on the chosen split, averaged over images, times and noise."""
    plan, split = task.plan, task.plan.settings.split
    name = f"loss/{split}"
    if task.has(name):
        return
    arrays = plan.data.load(split)

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        noise = Noise(stream_seed(plan.seed, Use.EVAL_LOSS), rows, plan.device)
        x0 = plan.data.training_batch(arrays.images[rows.start : rows.stop].to(plan.device), noise)
        cond = plan.task.network_conditions(x0, arrays.labels[rows.start : rows.stop])
        losses = plan.objective.losses(x0, noise, **cond)
        return {"loss": losses.values.double().cpu().numpy()}

    found = task.batches("loss", len(arrays), plan.settings.batch_size, compute)
    value, stderr = mean(found["loss"])
    task.report.add(
        task.number(name, value, stderr, count=len(arrays), unit="", nfe=1, seconds=float(found["seconds"]))
    )


def evaluate_bpd(task: CheckpointTask) -> None:
    """Likelihood of the chosen split, as ``eval.bpd_method`` says."""
    method = task.plan.settings.bpd_method
    if method != "vlb":
        evaluate_ode(task)
    if method != "ode":
        evaluate_vlb(task)


TASKS: dict[str, Callable[[CheckpointTask], None]] = {
    "enable_loss": evaluate_loss,
    "enable_bpd": evaluate_bpd,
    "enable_sampling": evaluate_sampling,
    "enable_accuracy": evaluate_accuracy,
    "enable_restoration": evaluate_restoration,
}
