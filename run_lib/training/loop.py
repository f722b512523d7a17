"""The training loop: steps of the optimiser, checkpoints, curves for TensorBoard."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from models.blocks.dropout import dropout_from
from run_lib.config.sampling import SamplingPlan
from run_lib.config.settings import TrainSettings
from run_lib.config.training import TrainingPlan
from run_lib.data.batches import Batches
from run_lib.data.classes import Numbering, numbered
from run_lib.data.split import Split
from run_lib.files import as_json
from run_lib.fingerprint import of_split
from run_lib.pictures import picture, to_tensorboard
from run_lib.processes import Processes
from run_lib.run import Run
from run_lib.sample import LostSamplesError, batches, draw
from run_lib.seeds import Use, step_seed, stream_seed
from run_lib.stopping import finishing
from run_lib.training.curves import Curves
from run_lib.training.history import History, as_written
from run_lib.training.meter import Meter
from run_lib.training.replicated import Replicated
from run_lib.training.skipped_steps import look_for_faults, say
from run_lib.training.state import TrainState
from run_lib.training.team import Team
from run_lib.training.undo import Kept
from run_lib.training.update import update
from run_lib.training.watch import SHOWN, Batch
from sde_lib.finite import finite_rows
from sde_lib.noise import Noise
from sde_lib.words import listed


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
    subject, settings = plan.subject, plan.settings
    if not subject.trainable:
        raise ValueError(
            "this configuration's model is an exact score: there is nothing to train; use eval or sample."
        )
    arrays = subject.data.load("train")
    held_out = subject.data.load_if_any("test", "the validation loss")
    for split, data in (("train", arrays), ("test", held_out)):
        if data is not None:
            plan.task.check(data, f"the {split} split of {subject.data.name}")
    meter = Meter(subject, team.size)
    team.take(subject.network)
    with team.main_first():  # what is damaged is set aside once
        state = run.new_state(plan, team)
        run.resume(state, subject)
        plan = agree_on_classes(plan, state)
        subject = plan.subject
        agree_on_data(plan, state)
    batches_of_steps = make_batches(plan, team)  # by the numbers of the weights
    if held_out is not None:
        held_out = subject.data.load("test")
    run.check_checkpoints()
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
    ):
        writer.add_text(
            "config", f"```json\n{as_json(dict(subject.record.values), indent=2)}\n```", state.step
        )
        bar = tqdm(
            range(state.step, settings.n_iters),
            initial=state.step,
            total=settings.n_iters,
            desc="training",
            disable=not team.is_main,
        )
        meter.begin()
        for step in bar:
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
            due = done % settings.snapshot_freq_for_preemption == 0 or done % settings.snapshot_freq == 0
            logs = done % settings.log_freq == 0
            if logs and bool(state.watch.latest.sound):
                value = float(batch.losses.values.mean())
                bar.set_postfix(loss=f"{value:.4f}")
                history.training[done] = as_written(value)
                writer.add_scalar("train/loss", value, done)
                writer.add_scalar("train/gradient_norm", float(norm), done)
                writer.add_scalar("train/learning_rate", rate, done)
                meter.write(writer, batch.losses, done)
            if logs or due or last or stop.asked or state.watch.full:
                look_for_faults(state, plan, run, drawn, done, writer)
            evaluates = done % settings.eval_freq == 0 or last or (due and settings.keep_best)
            if held_out is not None and evaluates:
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
            if plan.preview is not None and (done % settings.snapshot_freq == 0 or last):
                with meter.paused():
                    _show_preview(plan.preview, state, writer, done)
            if team.is_main and (done % settings.snapshot_freq == 0 or last):
                history.draw()
            # Where nothing but faults have been since the last checkpoint, there is nothing to save.
            if ((due or stop.asked) and state.watch.progress) or last:
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
            f"the least held-out loss, {history.held_out[best]:.6g}, is that of {run.checkpoints.path(best)}"
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


def agree_on_classes(plan: TrainingPlan, state: TrainState) -> TrainingPlan:
    """The plan with the classes of the data numbered as the weights do; weights that know no names take those of the
    training split.

    Raises:
        ValueError: the training split has a class that the weights do not know.
    """
    if not plan.subject.num_classes:
        return plan
    known = Numbering(state.weights.classes, "the checkpoint that training goes on from")
    plan = numbered(plan, known)
    trained = plan.subject.data.load("train").classes
    plan = numbered(plan, Numbering(plan.subject.data.numbering.names or trained, "the training split"))
    state.weights.classes = plan.subject.data.numbering.names
    return plan


def agree_on_data(plan: TrainingPlan, state: TrainState) -> None:
    """Know what the weights are trained on from here; of weights that have been trained, that it is the same.

    Raises:
        ValueError: the training split has another content, or is in another order.
    """
    now = of_split(plan.subject.data, "train")
    plan.subject.agreement.check_data(state.weights.data, now, plan.subject.data.name)
    state.weights.data = now


def make_batches(plan: TrainingPlan, team: Team | None = None) -> Batches:
    """The training data in the order of the steps; those of a team's process, or all."""
    subject, settings = plan.subject, plan.settings
    train, device = subject.data.load("train"), subject.placement.device
    parts = tuple(map((team or Team()).evaluated, settings.microbatches()))
    return subject.data.batches(train, subject.seed, settings.samples_per_step, parts, device)


def backward(state: TrainState, plan: TrainingPlan, batches: Batches, step: int) -> Batch:
    """Compute the gradient of a step's mean loss, microbatch by microbatch; returns what it is of.

    Each microbatch counts by its share of the step's samples, so the gradient is that of the mean over all of them.
    """
    settings, network, team = plan.settings, plan.subject.network, state.team
    parts: list[Batch] = []
    places: list[int] = []
    buffers = Kept(network.buffers())
    evaluate = team.evaluator(network, training_losses)
    # A plugin's own layers may draw from torch's generator.
    torch.manual_seed(step_seed(plan.subject.seed, Use.TRAINING, step) + team.processes.rank)
    for rows in settings.microbatches():
        own, some = team.rows(rows), team.evaluated(rows)
        with (
            dropout_from(network, _streams(plan, Use.DROPOUT, step, some)),
            team.reducing(last=rows.stop == settings.samples_per_step),
        ):
            drawn = evaluate(plan, batches, step, some).first(len(own))
            state.scaler.scale(drawn.losses.values.sum() / settings.samples_per_step).backward()
        parts.append(drawn.detached)
        places += own
    return replace(team.joined(Batch.of(parts), places, settings.samples_per_step), buffers=buffers)


def training_losses(plan: TrainingPlan, batches: Batches, step: int, rows: range) -> Batch:
    """The losses of some rows of a step's batch. Everything random in them is a function of (seed, step)."""
    subject, drawn = plan.subject, batches.take(step, rows)
    noise = _streams(plan, Use.TRAINING, step, rows)
    subject.network.train()
    with subject.placement.autocast():
        labels = plan.task.training_labels(drawn.labels, noise)
        x0 = subject.data.training_batch(drawn.images, noise)
        return _losses(plan, x0, labels, noise)


def _streams(plan: TrainingPlan, use: Use, step: int, rows: range) -> Noise:
    """The streams of some rows of a step, each a function of (seed, step, row)."""
    total = plan.settings.samples_per_step
    return Noise(
        stream_seed(plan.subject.seed, use),
        torch.arange(step * total + rows.start, step * total + rows.stop),
        plan.subject.placement.device,
        part=(rows.start, total),
    )


@torch.no_grad()
def validation_loss(plan: TrainingPlan, state: TrainState, held_out: Split) -> float:
    """The loss of the averaged weights on some held-out data, with the same noise every time.

    The data are four batches' worth, evenly spaced over the split, so that they span the classes of one that is sorted
    by class; they are evaluated in microbatches. Where data or losses are not finite, it is that of the others, and a
    warning names those; NaN without others.
    """
    subject, settings = plan.subject, plan.settings
    size = min(settings.batch_size * 4, len(held_out))
    rows = torch.arange(size) * len(held_out) // size
    subject.network.eval()
    found: list[Batch] = []
    places: list[int] = []
    with state.weights.averaged():
        for part in batches(size, settings.microbatch or settings.batch_size):
            own, evaluated = state.team.rows(part), state.team.evaluated(part)
            noise = Noise(
                stream_seed(subject.seed, Use.VALIDATION),
                evaluated,
                subject.placement.device,
                part=(evaluated.start, size),
            )
            some = held_out.read(rows[evaluated.start : evaluated.stop])
            x0 = subject.data.held_out_batch(some.images.to(subject.placement.device), noise)
            found.append(_losses(plan, x0, some.labels, noise).first(len(own)))
            places += own
    values = state.team.joined(Batch.of(found), places, size).losses.values
    finite = values.isfinite()
    if bool(finite.all()):
        return float(values.mean())
    bad = [f"test sample {rows[k]}" for k in (~finite).nonzero()[:, 0].tolist()]
    say(f"the validation loss leaves out samples whose loss is not finite: {listed(bad, SHOWN)}")
    return float(values[finite].mean())


def _losses(plan: TrainingPlan, x0: Tensor, labels: Tensor, noise: Noise) -> Batch:
    """The objective's losses of data in the network's range, with the conditioning of the task."""
    losses = plan.objective.losses(x0, noise, **plan.task.network_conditions(x0, labels))
    return Batch(losses, finite_rows(x0))


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
    return to_tensorboard(picture(levels, plan.data))
