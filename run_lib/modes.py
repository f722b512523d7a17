"""What the program does, by name."""

from __future__ import annotations

from collections.abc import Callable

from run_lib.convert import convert
from run_lib.describe import describe
from run_lib.editing.control import control
from run_lib.editing.reconstruct import reconstruct
from run_lib.evaluation.evaluate import check, evaluate
from run_lib.run import Run
from run_lib.sample import sample
from run_lib.training.loop import train
from run_lib.tuning.tune import tune


def everything(run: Run) -> None:
    """Train, sample, evaluate, and say where all of it is."""
    check(run)
    if run.experiment.trainable:
        train(run)
    generates = run.experiment.task.generates
    if generates:
        sample(run)
    evaluate(run)
    samples = f"samples      {run.workdir / 'samples' / 'samples.png'}\n" if generates else ""
    print(
        f"\ncheckpoint   {run.checkpoints.latest() or 'none: an exact score'}\n{samples}"
        f"curves       tensorboard --logdir {run.workdir / 'tensorboard'}\n"
        f"report       {run.workdir / run.eval_folder / 'report.json'}"
    )


MODES: dict[str, Callable[[Run], None]] = {
    "train": train,
    "eval": evaluate,
    "sample": sample,
    "all": everything,
    "describe": describe,
    "convert": convert,
    "tune": tune,
    "control": control,
    "reconstruct": reconstruct,
}

WITHOUT_WEIGHTS = frozenset({"describe"})
"""Modes that need the network's shapes alone: no memory is taken for its parameters."""
