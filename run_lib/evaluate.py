"""Evaluation of checkpoints: loss, bits/dim, samples. Every number goes into one report, and none is made twice."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from run_lib.eval_task import Task, mean
from run_lib.evaluate_bound import evaluate_accuracy, evaluate_vlb
from run_lib.evaluate_likelihood import evaluate_ode
from run_lib.evaluate_samples import evaluate_sampling
from run_lib.report import Report
from run_lib.run import Run
from run_lib.streams import Use, stream_seed
from sde_lib.base import SDE
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.noise import Noise


def check(run: Run) -> None:
    """Refuse an evaluation that cannot be done, before any work.

    Raises:
        ValueError: nothing enabled, missing data, numbers that do not fit the data or the process.
    """
    e, settings = run.experiment, run.experiment.evaluation
    if not any(getattr(settings, field) for field in TASKS):
        raise ValueError(f"nothing to evaluate: set one of {', '.join(f'--config.eval.{f}' for f in TASKS)}.")
    count = len(e.data.load(settings.split))
    process, dims = e.model.process, math.prod(e.data.shape)
    e.task.check(e.data.load(settings.split), f"the {settings.split} split of {e.data.name}")
    if e.task.generates == settings.enable_accuracy:
        raise ValueError(
            "eval.enable_accuracy is for training.task='classifier', and goes with it: set it to "
            f"{not e.task.generates}."
        )
    if not e.task.generates and (settings.enable_bpd or settings.enable_sampling):
        raise ValueError(
            "a classifier has no likelihood and no samples: set eval.enable_bpd and enable_sampling to False."
        )
    by_ode = settings.enable_bpd and settings.bpd_method != "vlb"
    if (
        settings.enable_bpd
        and settings.bpd_method != "ode"
        and not isinstance(e.bound_model.process, DiscreteDiffusion)
    ):
        raise ValueError(
            f"eval.bpd_method={settings.bpd_method!r} bounds the likelihood of a chain, and "
            f"{type(e.bound_model.process).__name__} is none: set training.sde='ddpm', or 'vpsde' with "
            f"training.continuous=False, or bpd_method='ode'."
        )
    if by_ode and isinstance(process, SDE):
        if not 0 < (process.t_min if settings.t_min is None else settings.t_min) < process.T:
            raise ValueError(f"config.eval.t_min must lie between 0 and {process.T:g}, got {settings.t_min}.")
    elif by_ode:
        raise ValueError(
            f"eval.bpd_method={settings.bpd_method!r} solves an ODE and needs an SDE; "
            f"{type(process).__name__} is none. Take bpd_method='vlb', or training.sde='vpsde' or 'vesde' "
            f"with training.continuous=False, which share the chain's network."
        )
    if settings.enable_sampling and settings.num_samples <= dims:
        raise ValueError(
            f"eval.num_samples={settings.num_samples} cannot give a covariance of {dims} coordinates; "
            f"ask for more."
        )
    if settings.enable_bpd and settings.bpd_num_images > count:
        raise ValueError(
            f"eval.bpd_num_images={settings.bpd_num_images} but the {settings.split} split has {count}."
        )


def evaluate(run: Run) -> None:
    """Run every enabled evaluation on every chosen checkpoint.

    Raises:
        ValueError: nothing enabled, no checkpoint, missing data.
    """
    check(run)
    e, settings = run.experiment, run.experiment.evaluation
    chosen = [task for field, task in TASKS.items() if getattr(settings, field)]
    folder = run.workdir / run.eval_folder
    report = Report(folder / "report.json")
    for step in _steps(run):
        state = run.trained_state(step)
        parts = folder / "parts" / f"{state.step}-{e.config_hash}"
        with state.ema.average(e.network):
            for task in chosen:
                task(Task(run, state, report, parts))
        _summary(report, state.step, e.config_hash)
    print(f"report: {report.path}")


def _steps(run: Run) -> list[int | None]:
    """Checkpoints to evaluate: a list of steps, a range of snapshots, or (None) the latest."""
    settings, every = run.experiment.evaluation, run.experiment.training.snapshot_freq
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


def evaluate_loss(task: Task) -> None:
    """The training loss on the chosen split, averaged over images, times and noise."""
    e, split = task.experiment, task.experiment.evaluation.split
    name = f"loss/{split}"
    if task.report.has(name, task.state.step, e.config_hash):
        return
    arrays = e.data.load(split)

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        noise = Noise(stream_seed(e.seed, Use.EVAL_LOSS), rows, e.device)
        x0 = e.data.training_batch(arrays.images[rows.start : rows.stop].to(e.device), noise)
        cond = e.task.conditions(x0, arrays.labels[rows.start : rows.stop])
        losses = e.loss(e.loss_model, x0, noise, **cond)  # type: ignore[arg-type]
        return {"loss": losses.values.double().cpu().numpy()}

    found = task.batches("loss", len(arrays), e.evaluation.batch_size, compute)
    value, stderr = mean(found["loss"])
    task.report.add(
        task.number(name, value, stderr, count=len(arrays), unit="", nfe=1, seconds=float(found["seconds"]))
    )


def evaluate_bpd(task: Task) -> None:
    """Likelihood of the chosen split, as ``eval.bpd_method`` says."""
    method = task.experiment.evaluation.bpd_method
    if method != "vlb":
        evaluate_ode(task)
    if method != "ode":
        evaluate_vlb(task)


TASKS: dict[str, Callable[[Task], None]] = {
    "enable_loss": evaluate_loss,
    "enable_bpd": evaluate_bpd,
    "enable_sampling": evaluate_sampling,
    "enable_accuracy": evaluate_accuracy,
}
