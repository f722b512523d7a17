"""What is said of training steps that were skipped, and when training stops because of them."""

from __future__ import annotations

import sys

import torch

from run_lib.config.training import TrainingPlan
from run_lib.data.batches import Batches
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.training.curves import Curves
from run_lib.training.state import TrainState
from run_lib.training.watch import Skipped
from sde_lib.finite import NotFiniteError

SAID = 5
"""Steps that are named each time."""


def say(message: str) -> None:
    """A warning, which all processes come to and the main one says."""
    if Processes.from_environment().is_main:
        print(f"warning: {message}", file=sys.stderr)


def look_for_faults(
    state: TrainState, plan: TrainingPlan, run: Run, batches: Batches, done: int, writer: Curves
) -> None:
    """Name the steps that were skipped since the last look, with the cause of each.

    Raises:
        NotFiniteError: so many of them in a row that training stops.
    """
    watch = state.watch
    overflows = watch.overflows
    found = watch.read(done)
    for one in found[:SAID]:
        say(f"step {one.step} is skipped: {one.findings.cause(batches.indices(one.step).tolist())}")
    if len(found) > SAID:
        say(f"{len(found) - SAID} more steps up to step {found[-1].step} are skipped")
    if found:
        writer.add_scalar("train/skipped_steps", watch.skipped, done)
    if watch.overflows > overflows:
        writer.add_scalar("train/overflows_of_the_loss_scale", watch.overflows, done)
    for one in found:
        if one.in_a_row == plan.settings.max_nonfinite:
            _give_up(state, plan, run, batches, one)


def _give_up(state: TrainState, plan: TrainingPlan, run: Run, batches: Batches, last: Skipped) -> None:
    """Write the batch of a step to a file, and stop training."""
    rows, losses = batches.indices(last.step), last.findings.losses
    path = run.workdir / f"nonfinite_step_{last.step}.pt"
    held = {
        "images": batches.take(last.step, range(batches.batch_size)).images.cpu(),
        "rows": torch.from_numpy(rows), "t": losses.t, "losses": losses.values
    }  # fmt: skip
    state.team.write(path, held)
    norms = state.team.norms([p.detach() for p in state.network.parameters()], float("inf"))
    lost = not bool(norms.isfinite().all())
    what = (
        "The weights were not finite before: go back to an earlier checkpoint."
        if lost
        else "Mend the data, or lower optim.lr, lengthen optim.warmup or clip with optim.grad_clip."
    )
    raise NotFiniteError(
        f"something was not finite for {plan.settings.max_nonfinite} steps in a row, to step {last.step}: "
        f"{last.findings.cause(rows.tolist())}. The batch, its times and losses are in {path}. {what}"
    )
