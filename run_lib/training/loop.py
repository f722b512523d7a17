"""The training loop: steps of the optimiser, checkpoints, curves for TensorBoard."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor

from run_lib.config.sampling import SamplingPlan
from run_lib.config.settings import TrainSettings
from run_lib.config.training import TrainingPlan
from run_lib.files import as_json
from run_lib.output.progress import Progress
from run_lib.pictures import picture, to_tensorboard
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import LostSamplesError, batches, draw
from run_lib.seeds import Use
from run_lib.stopping import finishing
from run_lib.training.beginning import begin
from run_lib.training.curves import Curves
from run_lib.training.history import History, as_written
from run_lib.training.meter import Meter
from run_lib.training.rehearsal import rehearse
from run_lib.training.replicated import Replicated
from run_lib.training.skipped_steps import look_for_faults, say
from run_lib.training.state import TrainState
from run_lib.training.steps import backward, make_batches, validation_loss
from run_lib.training.team import Team
from run_lib.training.update import update
from sde_lib.words import digits


def train(plan: TrainingPlan, run: Run) -> None:
    """Train to ``training.n_iters`` steps, from the latest checkpoint if there is one.

    Several processes that torch's launcher has started train together (docs/processes.md).

    Raises:
        ValueError: nothing to train, missing data, a checkpoint that does not fit.
        NotFiniteError: ``training.max_nonfinite`` steps in a row were skipped.
        MachineError: another process has ended.
    """
    processes = Processes.from_environment()
    with processes.process_group(plan.subject.placement.device):
        train_with(_team(processes, plan.settings.shard), plan, run)


def _team(processes: Processes, shard: bool) -> Team:
    """The processes of this run.

    Args:
        processes: one, or those that torch's launcher has started.
        shard: whether each of several keeps a part of the weights.
    """
    if processes.world_size == 1:
        if shard:
            print(
                "note: training.shard shares weights among several processes, and this is one",
                file=sys.stderr,
            )
        return Team(processes)
    if shard:
        from run_lib.training.sharded import Sharded

        return Sharded(processes)
    return Replicated(processes)


def train_with(team: Team, plan: TrainingPlan, run: Run) -> None:
    """Train by the given processes.

    A step is a function of (state, seed, step number) alone, so a run that was killed and started again
    ends with the weights of one that was not. A step in which something is not finite is skipped: it counts as one of
    the ``n_iters``, and in the schedule of the learning rate, and changes nothing else.
    """
    meter = Meter(plan.subject, team.size)
    start = begin(plan, run, team)
    plan, state, held_out = start.plan, start.state, start.held_out
    subject, settings = plan.subject, plan.settings
    batches_of_steps = make_batches(plan, team)
    if state.step < settings.n_iters:
        rehearse(plan, state, run, held_out)
        if team.is_main:
            place = subject.placement
            print(f"training in {place.training.on(place.device)}", file=sys.stderr)
    elif team.is_main:
        print(
            f"training: nothing is left to do: {run.checkpoints.latest()} has the {state.step} steps of "
            f"training.n_iters={settings.n_iters}"
        )
    run.folder("tensorboard")
    history = History.up_to(run.workdir, state.step)
    if team.is_main:
        _keep_some(run, settings, history)  # the run before may have ended before it did
    if state.step < settings.n_iters and team.is_main:
        run.keep_record(subject.record.values)
    # Of the step itself the earlier files hold the curves, and they are not drawn again.
    with (
        Curves(run.workdir / "tensorboard", purge_step=state.step + 1, written=team.is_main) as writer,
        finishing("the step", team.heard) as stop,
        batches_of_steps as drawn,
        Progress("training", settings.n_iters, "step", done=state.step) as bar,
    ):
        writer.add_text(
            "config", f"```json\n{as_json(dict(subject.record.values), indent=2)}\n```", state.step
        )
        meter.begin()
        for step in bar.over(range(state.step, settings.n_iters)):
            state.optimizer.zero_grad(set_to_none=True)
            batch = backward(state, plan, drawn, step)
            rate = plan.optimisation.rate(step, settings.n_iters)
            norm = update(state, rate, plan.optimisation.grad_clip, batch)
            if plan.times.learns and bool(state.watch.latest.sound):
                plan.times.observe(batch.losses.t, batch.losses.unweighted)
            state.weights.step = done = step + 1
            meter.add(settings.samples_per_step)
            stop.listen()

            last = done == settings.n_iters
            logs = done % settings.log_freq == 0
            if logs and bool(state.watch.latest.sound):
                value = float(batch.losses.values.mean())
                bar.say(loss=f"{value:.4f}")
                history.training[done] = as_written(value)
                writer.add_scalar("train/loss", value, done)
                writer.add_scalar("train/gradient_norm", float(norm), done)
                writer.add_scalar("train/learning_rate", rate, done)
                meter.write(writer, batch.losses, done)
            if logs or settings.saves(done) or stop.asked or state.watch.full:
                look_for_faults(state, plan, run, drawn, done, writer)
            if held_out is not None and settings.evaluates(done):
                with meter.paused():
                    value = validation_loss(plan, state, held_out)
                if math.isfinite(value):
                    history.held_out[done] = as_written(value)
                    writer.add_scalar("test/loss", value, done)
            snapshots = settings.ema_snapshot_freq or settings.snapshot_freq
            if state.weights.profiles and (done % snapshots == 0 or last):
                with meter.paused():
                    run.profiles.save(state, subject.record.values)
            # Before the checkpoint: a run that goes on from it does not draw what belongs to its step.
            if plan.preview is not None and settings.shows(done):
                with meter.paused():
                    _show_preview(plan.preview, state, writer, done)
            if team.is_main and settings.shows(done):
                history.draw()
            # Where nothing but faults have been since the last checkpoint, there is nothing to save.
            if ((settings.saves(done) or stop.asked) and state.watch.progress) or last:
                if team.is_main:
                    history.write()  # before: what it has behind a checkpoint is forgotten, what it lacks is lost
                with meter.paused():
                    state.save(run.checkpoints.path(done), subject.record.values)
                state.watch.progress = False
                if team.is_main:
                    _keep_some(run, settings, history)
            stop.leave(
                f"the same command goes on from {run.checkpoints.latest() or 'the beginning'}, "
                f"the last of {done} steps"
            )
    if settings.keep_best and (best := history.best(run.checkpoints.steps())) is not None:
        print(
            f"the least held-out loss, {digits(history.held_out[best], 6)}, is that of {run.checkpoints.path(best)}"
        )
    if state.watch.skipped:
        say(f"{state.watch.skipped} steps of this run were skipped, because something in them was not finite")


def _keep_some(run: Run, settings: TrainSettings, history: History) -> None:
    """Delete the checkpoints that are not to stay."""
    run.checkpoints.keep(
        settings.snapshot_freq,
        settings.snapshot_freq_for_preemption,
        last=settings.keep_last,
        best=history.best(run.checkpoints.steps()) if settings.keep_best else None,
    )


def _show_preview(plan: SamplingPlan, state: TrainState, writer: Curves, done: int) -> None:
    """Add a picture of samples to the curves; a warning where one is not finite."""
    try:
        writer.add_image("samples", _preview(plan, state), done)
    except LostSamplesError as error:
        say(f"no picture of samples after step {done}: {error}")


def _preview(plan: SamplingPlan, state: TrainState) -> Tensor:
    """A picture of samples by the averaged weights, for TensorBoard."""
    state.network.eval()
    with state.weights.averaged():
        some = batches(plan.settings.grid_size, plan.settings.batch_size)
        levels = torch.cat([draw(plan, rows, Use.PREVIEW).levels for rows in some])
    return to_tensorboard(picture(levels, plan.data.shown))
