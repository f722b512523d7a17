"""What the program does, by name."""

from __future__ import annotations

from collections.abc import Callable

from run_lib.evaluate import evaluate
from run_lib.run import Run
from run_lib.sample import sample
from run_lib.train import train


def everything(run: Run) -> None:
    """Train, sample, evaluate, and say where all of it is."""
    if run.experiment.trainable:
        train(run)
    sample(run)
    evaluate(run)
    print(
        f"\ncheckpoint   {run.checkpoints.latest() or 'none: an exact score'}\n"
        f"samples      {run.workdir / 'samples' / 'samples.png'}\n"
        f"curves       tensorboard --logdir {run.workdir / 'tensorboard'}\n"
        f"report       {run.workdir / run.eval_folder / 'report.json'}"
    )


MODES: dict[str, Callable[[Run], None]] = {
    "train": train,
    "eval": evaluate,
    "sample": sample,
    "all": everything,
}
